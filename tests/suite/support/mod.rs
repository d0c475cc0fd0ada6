//! What the tests share: real servers on free ports, ended with the test.

pub mod nats;
