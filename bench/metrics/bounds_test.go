package metrics

import (
	"math"
	"testing"
)

// scipy.stats.chi2.ppf(.95, 2*(n+1))/2 and chi2.ppf(.05, 2*n)/2.
func TestPoissonBoundsAreGarwoods(t *testing.T) {
	for _, c := range []struct {
		n            int
		lower, upper float64
	}{
		{0, 0, 2.9957322735539895},
		{1, 0.05129329438755053, 4.743864518390577},
		{3, 0.8176914471639534, 7.753656527932725},
		{10, 5.425405697091295, 16.962219235721903},
		{100, 84.13927721831419, 118.07927278209706},
		{1000, 948.5598493836511, 1053.6031221333008},
	} {
		near(t, "upper", PoissonUpper(c.n, .95), c.upper)
		near(t, "lower", PoissonLower(c.n, .95), c.lower)
	}
	near(t, "no event", PoissonUpper(0, .95), -math.Log(.05))
}

// scipy.stats.beta.ppf(.05, hits, n-hits+1).
func TestShareLowerIsClopperPearsons(t *testing.T) {
	for _, c := range []struct {
		hits, n int
		want    float64
	}{{1, 1, .05}, {22, 22, 0.8726945683451612}, {5, 10, 0.2224411010081294}, {99, 100, 0.9534401885464611}, {0, 5, 0}, {0, 0, math.NaN()}} {
		near(t, "lower", ShareLower(c.hits, c.n, .95), c.want)
	}
}
