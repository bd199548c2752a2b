package freeport

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestAPortIsGivenOnceAndCanBeListenedOn(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		port, err := Find()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d was given twice", port)
		}
		seen[port] = true
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

func TestTheRangeLiesBelowTheKernels(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skipf("no such range here: %v", err)
	}
	fields := strings.Fields(string(b))
	if first, err := strconv.Atoi(fields[0]); err != nil || first < beyond {
		t.Errorf("the kernel takes local ports from %s on, %v; ours end at %d", fields[0], err, beyond)
	}
}
