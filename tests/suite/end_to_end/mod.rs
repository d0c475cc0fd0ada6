//! The whole: the real program, real components, a real NATS, and what users see of it over HTTP.

mod broadcast;
mod faults;
mod in_process;
mod kills;
mod logs;
mod nats;
