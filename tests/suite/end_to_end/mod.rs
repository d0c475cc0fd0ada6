//! The whole: the real program, real components, a real NATS, and what users see of it over HTTP.

mod broadcast;
mod cli;
mod faults;
mod guests;
mod in_process;
mod kills;
mod large;
mod logs;
mod nats;
mod policy;
