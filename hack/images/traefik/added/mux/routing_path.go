package mux

type routingPathKey struct{}

// RoutingPathKey is under what Traefik keeps the path in a request's context that its rules look at.
var RoutingPathKey = routingPathKey{}

// UseRoutingPath is for rules in the syntax of Traefik 2. In the lab's build these look at the path as it was sent.
func (r *Router) UseRoutingPath() *Router {
	return r
}
