// Command kcat stands in for kcat (https://github.com/edenhill/kcat) where that is not
// installed: it knows the flags that the documentation uses, and refuses others.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	log.SetFlags(0)
	produce, consume := flag.Bool("P", false, "produce"), flag.Bool("C", false, "consume")
	brokers, topic := flag.String("b", "", "brokers"), flag.String("t", "", "topic")
	key, header := flag.String("k", "", "key"), flag.String("H", "", "header")
	offset, exit := flag.String("o", "", "offset"), flag.Bool("e", false, "exit at the end")
	format := flag.String("f", "%s\n", "format")
	flag.Bool("q", false, "quiet")
	flag.Parse()
	client, err := kgo.NewClient(kgo.SeedBrokers(*brokers), kgo.DefaultProduceTopic(*topic))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	switch {
	case *produce:
		err = send(client, *key, *header, flag.Args())
	case *consume && *exit && *offset == "beginning":
		err = read(client, *topic, *format)
	default:
		err = fmt.Errorf("this stand-in does not know %q", os.Args)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// send makes a record of each line of the files, or of standard input.
func send(client *kgo.Client, key, header string, files []string) error {
	var in io.Reader = os.Stdin
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	name, value, _ := strings.Cut(header, "=")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		r := &kgo.Record{Value: []byte(lines.Text()), Headers: []kgo.RecordHeader{{Key: name, Value: []byte(value)}}}
		if key != "" {
			r.Key = []byte(key)
		}
		if err := client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

// read prints what the topic holds now.
func read(client *kgo.Client, topic, format string) error {
	ctx := context.Background()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	var left int64
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(topic, end.Partition)
		left += end.Offset - start.Offset
	})
	client.AddConsumeTopics(topic)
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			left--
			var headers []string
			for _, h := range r.Headers {
				headers = append(headers, h.Key+"="+string(h.Value))
			}
			fmt.Print(strings.NewReplacer("%h", strings.Join(headers, ","), "%s", string(r.Value), "%k", string(r.Key), `\n`, "\n").Replace(format))
		}
	}
	return nil
}
