// Package cloudtrail writes synthetic AWS CloudTrail records (record contents 1.08 to 1.11)
// for benchmarks and demonstrations, where no real ones are at hand. Accounts, addresses,
// keys and names are made up.
//
// Modelled on real records, and in about their proportions: assumed roles with stable and
// with made-up session names, users, services, root, other accounts, web identities and
// Identity Center users; principals without a type (1.4 %), without a session context (a
// quarter), called by a service (an eighth); source identities; creation dates in both
// formats; empty access keys; times in whole seconds, a part of them out of order; errors
// (13 %, a third of them throttling); parameters that were left out for their size; null
// parameters and answers; a few keys that no version has. Not modelled: Insights and network
// activity events, what callers do in which order, and any attack.
package cloudtrail

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
)

// Write writes n records, one a line. The same seed gives the same bytes.
func Write(w io.Writer, seed uint64, n int) error {
	return write(w, seed, n, "", "\n", "")
}

// WriteFile writes n records as one file, {"Records":[…]}, as AWS delivers them to S3 (there
// with gzip). The records are those that Write writes for the seed.
func WriteFile(w io.Writer, seed uint64, n int) error {
	return write(w, seed, n, `{"Records":[`, ",", "]}")
}

// Write puts the separator after each record; in a file there is none after the last one.
func write(w io.Writer, seed uint64, n int, before, separator, after string) error {
	buf := bufio.NewWriter(w)
	buf.WriteString(before)
	account := newAccount(rand.New(rand.NewPCG(seed, 1)))
	for i := range n {
		line, err := json.Marshal(account.next())
		if err != nil {
			return fmt.Errorf("cannot encode record %d: %w", i, err)
		}
		buf.Write(line)
		if after == "" || i < n-1 {
			buf.WriteString(separator)
		}
	}
	buf.WriteString(after)
	// A Writer keeps its first error, so this one speaks for all writes.
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("cannot write CloudTrail records: %w", err)
	}
	return nil
}
