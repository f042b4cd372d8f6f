//go:build linux && cgo && libvirt_dlopen

package libvirt

/*
#cgo LDFLAGS: -Wl,--wrap=virSetErrorFuncWrapper

// The binding silences libvirt when the program starts, and loads the library for that: 25 to 50 ms of every command,
// also of those that have no use for it. The linker lets its call end here, and skiff makes it before it first connects.

typedef void (*errorFunc)(void *userData, void *error);

static void *data;
static errorFunc silent;

// Weak, as it is in another package, which cgo does not see.
__attribute__((weak)) void __real_virSetErrorFuncWrapper(void *userData, errorFunc handler);

void __wrap_virSetErrorFuncWrapper(void *userData, errorFunc handler) {
	data = userData;
	silent = handler;
}

static void silence(void) {
	__real_virSetErrorFuncWrapper(data, silent);
}
// Everything else of libvirt is called by the binding.
*/
import "C"

// silence keeps libvirt from printing errors, which it also returns. It loads the library.
func silence() { C.silence() }
