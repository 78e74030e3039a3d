package probe

// Report is what a probe has found.
type Report struct {
	URL         string    `json:"url"`
	Resource    string    `json:"resource"`
	ClientID    string    `json:"client_id"`
	NeededScope string    `json:"needed_scope,omitempty"`
	Passed      int       `json:"passed"`
	Failed      int       `json:"failed"`
	NotSeen     int       `json:"not_seen"`
	Checks      []Finding `json:"checks"`
}

// Finding is the outcome of a check and what it rests on.
type Finding struct {
	Class   string `json:"class"`
	Check   string `json:"check"`
	Outcome string `json:"outcome"` // Passed, Failed or NotSeen
	Detail  string `json:"detail,omitempty"`
}

// The outcomes of a check.
const (
	Passed  = "pass"
	Failed  = "fail"
	NotSeen = "not seen" // answers could not tell; with a Backend they can
)

func report(given *Given, trials []*trial) *Report {
	r := &Report{URL: given.URL, Resource: given.Resource, ClientID: given.ClientID, NeededScope: given.NeededScope}
	for _, t := range trials {
		f := t.find()
		r.Checks = append(r.Checks, f)
		switch f.Outcome {
		case Passed:
			r.Passed++
		case Failed:
			r.Failed++
		default:
			r.NotSeen++
		}
	}
	return r
}
