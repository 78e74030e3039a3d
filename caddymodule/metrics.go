package caddymodule

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"
)

// The metrics of the module. They belong to the process and not to one
// configuration, so that counters do not begin anew with every reload; each
// configuration registers them with its own registry. Labels have few values, all
// of this module's making.
var (
	metricDecisions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "oauth", Name: "gate_decisions_total",
		Help: "Requests that a gate has decided about, by outcome; mode is enforced, or reported where nothing is refused.",
	}, []string{"outcome", "mode"})
)

// registerMetrics makes the metrics visible in a configuration.
func registerMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	for _, collector := range []prometheus.Collector{metricDecisions} {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(collector); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}
