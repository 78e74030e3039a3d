package caddymodule

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"
)

// The metrics of the module; docs/metrics.md says what they are good for. They
// belong to the process and not to one configuration, so that counters do not
// begin anew with every reload; each configuration registers them with its own
// registry. Labels have few values: of this module's making, or URLs of the
// configuration.
var (
	metricDecisions = counter("gate_decisions_total",
		"Requests that a gate has decided about, by outcome; mode is enforced, or reported where nothing is refused.", "outcome", "mode")

	metricIssued = counter("tokens_issued_total",
		"Token requests that were granted.", "issuer", "grant_type")
	metricRefused = counter("tokens_refused_total",
		"Token requests that were refused, by the error code of the answer; grant_type is unknown where the request named none that there is.", "issuer", "grant_type", "error")
	metricReused = counter("refresh_tokens_reused_total",
		"Refresh tokens that were used a second time: what they belonged to was ended, since one of two users has stolen it.", "issuer")
	metricLoginsFailed = counter("logins_failed_total",
		"Sign-ins that failed: by a wrong name or password, because too many were tried, or at another provider.", "issuer", "reason")
	metricVerification = histogram("token_verification_seconds",
		"Time to verify an access token whose earlier verification was not remembered.", []string{"issuer", "outcome"},
		.0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1, 5)

	metricUpdates = histogram("storage_update_seconds",
		"Time from asking the storage to write until it was durable, waiting for others included.", nil,
		.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5)
	metricStorageFailures = counter("storage_failures_total",
		"Writes that the storage did not accept: busy where too many waited, unavailable where the medium failed.", "reason")
	metricSweeps = histogram("sweep_seconds",
		"Time to delete what has expired.", nil, .001, .01, .1, .5, 1, 5, 10, 60)
	metricSwept = counter("swept_records_total",
		"Expired records that were deleted.")
)

const (
	metricNamespace = "caddy"
	metricSubsystem = "oauth"
)

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: metricNamespace, Subsystem: metricSubsystem, Name: name, Help: help,
	}, labels)
}

func histogram(name, help string, labels []string, buckets ...float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricNamespace, Subsystem: metricSubsystem, Name: name, Help: help, Buckets: buckets,
	}, labels)
}

// registerMetrics makes the metrics visible in a configuration.
func registerMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	for _, collector := range []prometheus.Collector{
		metricDecisions, metricIssued, metricRefused, metricReused, metricLoginsFailed, metricVerification,
		metricUpdates, metricStorageFailures, metricSweeps, metricSwept, stateCollector{},
	} {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(collector); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}
