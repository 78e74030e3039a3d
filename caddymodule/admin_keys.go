package caddymodule

func listKeys(r *adminRequest) (any, error) { return r.issuer.Keys(), nil }

func rotateKeys(r *adminRequest) (any, error) {
	body := struct {
		Immediately bool `json:"immediately"`
	}{}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	err := r.issuer.RotateKeys(r.Context(), body.Immediately)
	return r.issuer.Keys(), err
}

func revokeKey(r *adminRequest) (any, error) {
	if err := r.decode(new(struct{})); err != nil {
		return nil, err
	}
	err := r.issuer.RevokeKey(r.Context(), r.args[0])
	return r.issuer.Keys(), err
}
