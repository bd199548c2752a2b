// Command catalog writes docs/catalog.md, the page of the built-in detectors, from their files.
//
//	go run ./bench/cmd/catalog > docs/catalog.md
package main

import (
	"fmt"
	"os"

	"github.com/estop-project/estop/detector/catalog"
)

func main() {
	page, err := write(catalog.FS)
	if err == nil {
		_, err = os.Stdout.WriteString(page)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "catalog:", err)
		os.Exit(1)
	}
}
