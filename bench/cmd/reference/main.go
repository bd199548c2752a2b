// Command reference writes docs/reference.md, the reference of the detectors' language, from the schema and
// the compiler's own tables.
//
//	go run ./bench/cmd/reference > docs/reference.md
package main

import (
	"fmt"
	"os"

	"github.com/estop-project/estop/detector"
)

func main() {
	page, err := write(detector.Schema)
	if err == nil {
		_, err = os.Stdout.WriteString(page)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}
