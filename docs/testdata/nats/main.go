// Command nats stands in for the nats command (https://github.com/nats-io/natscli) where that
// is not installed: it knows 'nats --server URL sub SUBJECT --raw --count N'.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	log.SetFlags(0)
	global := flag.NewFlagSet("nats", flag.ExitOnError)
	server := global.String("server", nats.DefaultURL, "URL")
	_ = global.Parse(os.Args[1:])
	if global.NArg() < 2 || global.Arg(0) != "sub" {
		log.Fatalf("this stand-in does not know %q", os.Args)
	}
	sub := flag.NewFlagSet("sub", flag.ExitOnError)
	raw, count := sub.Bool("raw", false, "print the payload alone"), sub.Int("count", 0, "messages")
	_ = sub.Parse(global.Args()[2:])
	if !*raw || *count < 1 {
		log.Fatal("this stand-in wants --raw and --count")
	}
	nc, err := nats.Connect(*server)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	messages, err := nc.SubscribeSync(global.Arg(1))
	if err != nil {
		log.Fatal(err)
	}
	for range *count {
		m, err := messages.NextMsg(time.Minute)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(m.Data))
	}
}
