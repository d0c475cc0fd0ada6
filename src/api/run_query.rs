//! The query parameters of `GET /runs`.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, civil};
use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as Unreadable;
use utoipa::IntoParams;

use super::State;
use super::error::ApiError;
use crate::catalog::{Code, Error, Paging, RunFilter};
use crate::model::RunStatus;

/// Every parameter there is, for those who name another.
const KNOWN: &str = "pipeline, status, resource, since, until, label, text, limit, cursor";

/// Which runs.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// `pending`, `running`, `succeeded`, `failed` or `cancelled`.
    #[param(value_type = Option<RunStatus>, inline)]
    pub status: Option<RunStatus>,
    /// `TYPE/NAME`, or `NAME` of any type.
    pub resource: Option<String>,
    /// Created then or later: a time of RFC 3339, a date (its midnight in UTC), or how long ago, such as `90m`, `2h` or `7d`.
    #[param(value_type = Option<String>)]
    pub since: Option<Timestamp>,
    /// Created before then; written as `since`.
    #[param(value_type = Option<String>)]
    pub until: Option<Timestamp>,
    /// With this label, as `key=value`. May be given more than once: then all must be there.
    #[param(value_type = Option<Vec<String>>)]
    pub label: Vec<(String, String)>,
    /// With this text in the name of the pipeline or the resource, the message, the id, or a label written `key=value`;
    /// upper and lower case are the same.
    pub text: Option<String>,
    /// The most items.
    pub limit: Option<usize>,
    /// The cursor of the part before. A part may hold fewer items than `limit`, even none, and still have a cursor.
    pub cursor: Option<String>,
}

impl FromRequestParts<State> for RunQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = pairs.map_err(|rejection| Error::new(Code::Invalid, rejection.body_text()))?;
        Ok(Self::read(pairs, state.catalog.clock.now())?)
    }
}

impl RunQuery {
    fn read(pairs: Vec<(String, String)>, now: Timestamp) -> Result<Self, Error> {
        let mut query = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "pipeline" => once(&mut query.pipeline, &name, value)?,
                "status" => once(&mut query.status, &name, status(&value)?)?,
                "resource" => once(&mut query.resource, &name, value)?,
                "since" => once(&mut query.since, &name, time(&name, &value, now)?)?,
                "until" => once(&mut query.until, &name, time(&name, &value, now)?)?,
                "label" => query.label.push(label(&value)?),
                "text" => once(&mut query.text, &name, value)?,
                "limit" => once(&mut query.limit, &name, number(&name, &value)?)?,
                "cursor" => once(&mut query.cursor, &name, value)?,
                _ => return Err(invalid(format!("there is no query parameter \"{name}\": {KNOWN} are known"))),
            }
        }
        Ok(query)
    }

    /// The same in the words of the catalog.
    pub fn split(self) -> (RunFilter, Paging) {
        let Self { pipeline, status, resource, since, until, label, text, limit, cursor } = self;
        (RunFilter { pipeline, status, resource, since, until, labels: label, text }, Paging { limit, cursor })
    }
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("{name}: it is given more than once, and only label may be"))),
    }
}

fn status(value: &str) -> Result<RunStatus, Error> {
    let read: Result<RunStatus, Unreadable> = RunStatus::deserialize(value.into_deserializer());
    read.map_err(|_| {
        invalid(format!("status: {value:?} is none: pending, running, succeeded, failed, cancelled are known"))
    })
}

fn number(name: &str, value: &str) -> Result<usize, Error> {
    value.parse().map_err(|_| invalid(format!("{name}: {value:?} is no number from 0 up")))
}

fn label(value: &str) -> Result<(String, String), Error> {
    let (key, value) = value.split_once('=').ok_or_else(|| {
        invalid(format!("label: {value:?} has no \"=\": a key and a value are expected, as team=belt"))
    })?;
    Ok((key.to_owned(), value.to_owned()))
}

fn time(name: &str, value: &str, now: Timestamp) -> Result<Timestamp, Error> {
    if let Ok(time) = value.parse() {
        return Ok(time);
    }
    let now = now.to_zoned_datetime(TimeZone::UTC);
    let day = |date: civil::Date| date.to_zoned_datetime(TimeZone::UTC).ok();
    // A date is tried alone: with more behind it, it is a time whose offset is missing or was lost on the way.
    let day = (value.len() == 10).then(|| value.parse().ok().and_then(day)).flatten();
    let back =
        || value.parse::<Span>().ok().filter(|span| !span.is_negative()).and_then(|span| now.checked_sub(span).ok());
    day.or_else(back).map(|time| time.timestamp()).ok_or_else(|| {
        invalid(format!(
            "{name}: {value:?} is no time: use RFC 3339 such as 2026-01-31T12:00:00Z (write the + of an offset as %2B), \
             or how long ago, such as 2h"
        ))
    })
}

fn invalid(text: String) -> Error {
    Error::new(Code::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_dates_or_a_while_ago() {
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-03-01T10:00:00+02:00", "2026-03-01T08:00:00Z"),
            ("2026-03-01T10:00:00.5Z", "2026-03-01T10:00:00.5Z"),
            ("2026-03-01", "2026-03-01T00:00:00Z"),
            ("2h", "2026-03-10T10:00:00Z"),
            ("1d 30m", "2026-03-09T11:30:00Z"),
            ("1w", "2026-03-03T12:00:00Z"),
            ("PT90S", "2026-03-10T11:58:30Z"),
        ] {
            assert_eq!(time("since", text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["", "yesterday", "-2h", "2026-03-01T10:00:00 02:00", "2026-03-01T10:00:00", "5"] {
            let error = time("since", text, now).unwrap_err();
            assert!(error.message.starts_with("since: "), "{text}: {error}");
        }
    }
}
