//! Lines for the log of the run.

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the driver's author.
    Debug,
    /// What happens.
    Info,
    /// Odd, but the work goes on.
    Warn,
    /// What went wrong.
    Error,
}

/// Logs a line for the driver's author.
#[macro_export]
macro_rules! debug {
    ($($line:tt)*) => { $crate::write($crate::Level::Debug, &format!($($line)*)) };
}

/// Logs a line about what happens.
#[macro_export]
macro_rules! info {
    ($($line:tt)*) => { $crate::write($crate::Level::Info, &format!($($line)*)) };
}

/// Logs a line about what is odd.
#[macro_export]
macro_rules! warn {
    ($($line:tt)*) => { $crate::write($crate::Level::Warn, &format!($($line)*)) };
}

/// Logs a line about what went wrong.
#[macro_export]
macro_rules! error {
    ($($line:tt)*) => { $crate::write($crate::Level::Error, &format!($($line)*)) };
}

/// In a component, a line of the host's log. Elsewhere `conveyor driver exec` takes what is printed.
pub fn write(level: Level, line: &str) {
    #[cfg(all(feature = "component", target_family = "wasm"))]
    crate::component::log(level, line);
    #[cfg(not(all(feature = "component", target_family = "wasm")))]
    match level {
        Level::Debug | Level::Info => println!("{line}"),
        Level::Warn | Level::Error => eprintln!("{line}"),
    }
}
