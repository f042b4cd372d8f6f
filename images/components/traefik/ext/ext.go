// Package ext stands in for the package of the same path in Traefik's repository, which is a module of its own there
// and is not in the archive that the Go module proxy serves. Traefik embeds these types so that others can add fields
// to its configuration; skiff adds none.
package ext

// HTTP adds nothing to the HTTP section of the dynamic configuration.
type HTTP struct{}

// Router adds nothing to a router.
type Router struct{}

// RouterIng adds nothing to a router that was read from an IngressRoute.
type RouterIng struct{}

// ToRouter returns the same nothing for the dynamic configuration.
func (RouterIng) ToRouter() Router { return Router{} }
