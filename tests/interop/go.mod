// The driver with the released SDK. Where the Go module proxy does not have that, .ci/interop builds with standin.mod.
module conveyor.test/interop

go 1.25.0

require github.com/open-ug/conveyor v0.6.1
