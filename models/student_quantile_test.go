package models

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func TestStudentQuantilesAreThoseOfGonum(t *testing.T) {
	for _, freedom := range []float64{1, 1.5, 2, 2.7, 3, 4.2, 5, 8, 11.3, 30, 39.9, 40.1, 67, 250, 2001, 1e5} {
		law := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}
		for _, p := range []float64{1e-6, 0.005, 0.2, 0.45, 0.5, 0.55, 0.7, 0.9, 0.975, 0.977, 0.995, 0.999, 0.99999} {
			want, got := law.Quantile(p), studentQuantile(p, freedom)
			if math.Abs(got-want) > 1e-9*math.Max(math.Abs(want), 0.01) {
				t.Errorf("quantile %g with %g degrees of freedom is %.12g, want %.12g", p, freedom, got, want)
			}
		}
	}
}

// Far out the quantile is where the tail says.
func TestStudentQuantilesInvertTheTail(t *testing.T) {
	for _, freedom := range []float64{1, 2, 8, 67, 2000} {
		for _, q := range []float64{1e-3, 1e-5, 1e-8} {
			x := studentQuantile(1-q, freedom)
			if got := math.Exp(studentLogTail(x, freedom)); math.Abs(got/q-1) > 1e-6 { // 1-q has no more digits
				t.Errorf("P(T ≥ quantile of 1-%g) is %g with %g degrees of freedom", q, got, freedom)
			}
		}
	}
}

func BenchmarkStudentQuantile(b *testing.B) {
	b.ReportAllocs()
	i, sum := 0, 0.0
	for b.Loop() {
		i++
		sum += studentQuantile(0.995, 8+float64(i%200))
	}
	_ = sum
}

func BenchmarkStudentLogTail(b *testing.B) {
	b.ReportAllocs()
	i, sum := 0, 0.0
	for b.Loop() {
		i++
		sum += studentLogTail(-1.5+float64(i%30)/10, 8+float64(i%200))
	}
	_ = sum
}
