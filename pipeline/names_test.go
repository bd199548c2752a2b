package pipeline_test

import (
	"testing"

	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

func TestWhatIsTakenInCanBeRevoked(t *testing.T) {
	if telemetry.MaxTenant > revoke.MaxTenant || telemetry.MaxName > revoke.MaxSubject {
		t.Errorf("names of %d and %d bytes are taken in, a revocation carries %d and %d",
			telemetry.MaxTenant, telemetry.MaxName, revoke.MaxTenant, revoke.MaxSubject)
	}
}
