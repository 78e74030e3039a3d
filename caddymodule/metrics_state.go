package caddymodule

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
)

// stateCollector reads the metrics that nobody has to count: they are there to be
// looked at. It looks at what is open in the process, whichever configuration
// opened it. During a reload that may be two storages with the same issuer, so
// what is said of an issuer is added up.
type stateCollector struct{}

var (
	descLookups     = desc("token_cache_lookups_total", "Access tokens that were shown, by whether an earlier verification was remembered (hit) or not (miss).", "issuer", "outcome")
	descKeyAge      = desc("signing_key_age_seconds", "Time since the present signing key began to sign.", "issuer")
	descLastSuccess = desc("foreign_issuer_last_success_timestamp_seconds", "When another issuer last gave a good answer, about its keys or about a token; 0 if never.", "issuer")
	descFailures    = desc("foreign_issuer_failures_total", "Exchanges with another issuer that brought no good answer.", "issuer")
	descWaiting     = desc("storage_queue_length", "Writes that wait for their turn.")
	descUp          = desc("storage_up", "Whether the storage answers and accepts writes: 1 or 0.")
	descLive        = desc("gate_live_requests", "Requests that have passed a gate and go on: streams, websockets, downloads.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metricNamespace, metricSubsystem, name), help, labels, nil)
}

// Describe implements prometheus.Collector.
func (stateCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLookups, descKeyAge, descLastSuccess, descFailures, descWaiting, descUp, descLive} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (stateCollector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	count := func(d *prometheus.Desc, value uint64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	seen := lookAtState()
	for url, l := range seen.lookups {
		count(descLookups, l.hits, url, "hit")
		count(descLookups, l.misses, url, "miss")
	}
	for url, since := range seen.signingSince {
		gauge(descKeyAge, max(0, time.Since(since).Seconds()), url)
	}
	for url, health := range seen.foreign {
		last := 0.0
		if !health.LastSuccess.IsZero() {
			last = float64(health.LastSuccess.UnixMilli()) / 1000
		}
		gauge(descLastSuccess, last, url)
		count(descFailures, health.Failures, url)
	}
	if seen.open {
		up := 0.0
		if seen.up {
			up = 1
		}
		gauge(descUp, up)
		gauge(descWaiting, float64(seen.waiting))
	}
	gauge(descLive, float64(liveNow()))
}

// stateSeen is what a look at the process shows, by the URLs of issuers.
type stateSeen struct {
	lookups      map[string]lookups
	signingSince map[string]time.Time
	foreign      map[string]introspect.Health

	open, up bool // any storage; all of them
	waiting  int
}

type lookups struct{ hits, misses uint64 }

func lookAtState() *stateSeen {
	seen := &stateSeen{
		lookups: make(map[string]lookups), signingSince: make(map[string]time.Time),
		foreign: make(map[string]introspect.Health), up: true,
	}
	vaults.Range(func(_, value any) bool {
		if opened := value.(*vault).opened.Load(); opened != nil {
			seen.addVault(opened)
		}
		return true
	})
	foreignPool.Range(func(_, value any) bool {
		value.(*foreign).addTo(seen)
		return true
	})
	return seen
}

func (s *stateSeen) addVault(v *openedVault) {
	s.open, s.up = true, s.up && v.healthy.Load()
	if queue, ok := v.store.(interface{ Waiting() int }); ok {
		s.waiting += queue.Waiting()
	}
	for _, vitals := range v.state.Vitals() {
		s.addIssuer(vitals)
	}
}

func (s *stateSeen) addIssuer(v issuer.Vitals) {
	s.addLookups(v.Issuer, v.CacheHits, v.CacheMisses)
	if !v.SigningSince.IsZero() && v.SigningSince.After(s.signingSince[v.Issuer]) {
		s.signingSince[v.Issuer] = v.SigningSince
	}
	for _, trusted := range v.Trusted {
		s.addForeign(trusted.Issuer, trusted.Health)
	}
}

func (s *stateSeen) addLookups(issuer string, hits, misses uint64) {
	before := s.lookups[issuer]
	s.lookups[issuer] = lookups{before.hits + hits, before.misses + misses}
}

func (s *stateSeen) addForeign(issuer string, h introspect.Health) {
	before := s.foreign[issuer]
	if before.LastSuccess.After(h.LastSuccess) {
		h.LastSuccess = before.LastSuccess
	}
	h.Failures += before.Failures
	s.foreign[issuer] = h
}

// addTo adds what is known of an issuer whose tokens a gate accepts.
func (f *foreign) addTo(seen *stateSeen) {
	seen.addForeign(f.issuer, f.asked.Health())
	if f.cache != nil {
		hits, misses := f.cache.Lookups()
		seen.addLookups(f.issuer, hits, misses)
	}
}

// liveNow counts the requests that go on.
func liveNow() (n int) {
	livePool.Range(func(_, value any) bool {
		live := value.(*liveRequests)
		for i := range live.shards {
			n += live.shards[i].count()
		}
		return true
	})
	return n
}

func (s *liveShard) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := s.first; v != nil; v = v.live.next {
		n++
	}
	return n
}
