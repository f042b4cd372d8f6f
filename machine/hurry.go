package machine

import "context"

type hurryKey struct{}

// WithHurry returns a context for Stop: once hurry is closed, Stop no longer waits for the guest to power off but ends it.
// Unlike with a context that ends, the machine is Stopped then.
func WithHurry(ctx context.Context, hurry <-chan struct{}) context.Context {
	return context.WithValue(ctx, hurryKey{}, hurry)
}

// Hurry returns what WithHurry was given, for those who implement Stop; nil when there is all the time in the world.
func Hurry(ctx context.Context) <-chan struct{} {
	hurry, _ := ctx.Value(hurryKey{}).(<-chan struct{})
	return hurry
}
