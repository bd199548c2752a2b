package kafka

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// exclusively runs fn while kfake serves no request. It returns once fn has run, or with an error and fn never run.
//
// kfake handles requests in one goroutine, which waits for a control function but serves kfake's own methods
// (Compact, PartitionInfo) meanwhile. So fn runs as the control function of a request that is sent for the purpose.
func (b *Broker) exclusively(ctx context.Context, fn func()) error {
	const waiting, running, abandoned = 0, 1, 2
	var state atomic.Int32
	done := make(chan struct{})
	b.cluster.ControlKey(int16(kmsg.DescribeCluster), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.DropControl()
		if state.CompareAndSwap(waiting, running) {
			defer close(done)
			fn()
		}
		return nil, nil, false
	})
	_, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, b.client)
	if err != nil && state.CompareAndSwap(waiting, abandoned) {
		return fmt.Errorf("cannot pause the broker: %w", err)
	}
	<-done
	return nil
}
