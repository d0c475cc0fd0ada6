// The same driver with a stand-in of ours in place of the released SDK: the same functions, the same calls of nats.go and
// of the API, as the wire protocol (2.4, 2.5, 3.6) tells them.
module conveyor.test/interop

go 1.25.0

require github.com/open-ug/conveyor v0.6.1

require (
	github.com/klauspost/compress v1.18.2 // indirect
	github.com/nats-io/nats.go v1.49.0 // indirect
	github.com/nats-io/nkeys v0.4.12 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.46.0 // indirect
	golang.org/x/sys v0.39.0 // indirect
)

replace github.com/open-ug/conveyor => ./standin
