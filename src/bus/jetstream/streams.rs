//! The three streams: their configuration, and what is done about another one.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, ConsumerLimits, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use serde::Deserialize;
use serde_json::json;

use super::super::{Error, Limits, Stream};
use super::link::ask;

/// Marks a stream as made by us, in its metadata.
const MARK: (&str, &str) = ("conveyor", "1");
/// The most that may wait for the log keeper; then the oldest lines go.
const LOG_BYTES: i64 = 1 << 30;
/// The server refuses to lower a limit below what a consumer has.
const VIOLATES_CONSUMERS: ErrorCode = ErrorCode(10069);

/// Makes the streams that are missing, and updates ours that are of an earlier shape.
pub(super) async fn assert(context: &Context, limits: &Limits) -> Result<(), Error> {
    let mut foreign = Vec::new();
    for stream in Stream::ALL {
        match assert_one(context, wanted(stream, limits)).await {
            Ok(()) => {}
            // All of them are told at once, so that they can be mended at once.
            Err(Error::Foreign(why)) => foreign.push(why),
            Err(error) => return Err(error),
        }
    }
    if foreign.is_empty() { Ok(()) } else { Err(Error::Foreign(foreign.join("; "))) }
}

/// Whether a stream as found is as it should be; if not, in what it differs and whether [`assert()`] would mend it.
pub(super) fn compare(stream: Stream, limits: &Limits, found: &Config) -> Result<(), (Vec<String>, bool)> {
    let differences = differences(&wanted(stream, limits), found);
    if differences.is_empty() {
        return Ok(());
    }
    let mended = is_ours(found) && differences.iter().all(|difference| difference.can_be_mended);
    Err((differences.into_iter().map(|difference| difference.text).collect(), mended))
}

fn is_ours(found: &Config) -> bool {
    found.metadata.get(MARK.0).is_some_and(|mark| mark == MARK.1)
}

fn wanted(stream: Stream, limits: &Limits) -> Config {
    let kept = ConsumerLimits { inactive_threshold: limits.place_kept, max_ack_pending: 0 };
    Config {
        name: stream.name().to_owned(),
        subjects: stream.subjects().iter().map(|subject| (*subject).to_owned()).collect(),
        retention: if stream == Stream::Messages { RetentionPolicy::Interest } else { RetentionPolicy::WorkQueue },
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_bytes: if stream == Stream::Logs { LOG_BYTES } else { -1 },
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        num_replicas: 1,
        duplicate_window: limits.deduplication,
        consumer_limits: (stream == Stream::Messages).then_some(kept),
        metadata: [(MARK.0.to_owned(), MARK.1.to_owned())].into(),
        ..Config::default()
    }
}

async fn assert_one(context: &Context, wanted: Config) -> Result<(), Error> {
    let name = wanted.name.clone();
    let found = match ask::<Info>(context, format!("STREAM.INFO.{name}"), &json!({})).await? {
        Ok(info) => info.config,
        Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => return create(context, &wanted).await,
        Err(error) => return Err(Error::Unavailable(format!("stream \"{name}\" cannot be read: {error}"))),
    };
    let differences = differences(&wanted, &found);
    if differences.is_empty() {
        return Ok(());
    }
    if is_ours(&found) && differences.iter().all(|difference| difference.can_be_mended) {
        return update(context, merge(&wanted, found)).await;
    }
    let told: Vec<_> = differences.into_iter().map(|difference| difference.text).collect();
    Err(Error::Foreign(format!(
        "stream \"{name}\" exists in NATS with another configuration: {}. Delete it, or use another account or server",
        told.join(", ")
    )))
}

async fn create(context: &Context, wanted: &Config) -> Result<(), Error> {
    let name = &wanted.name;
    match ask::<Info>(context, format!("STREAM.CREATE.{name}"), wanted).await? {
        Ok(_) => Ok(()),
        Err(error) if error.error_code() == ErrorCode::STREAM_SUBJECT_OVERLAP => {
            let owners = owners(context, wanted).await?;
            Err(Error::Foreign(format!(
                "stream \"{name}\" cannot be made in NATS: its subjects {} are taken by stream {owners}. Delete that, or \
                 use another account or server",
                wanted.subjects.join(", ")
            )))
        }
        // Among them that another instance makes it at this moment: the next try finds it.
        Err(error) => Err(Error::Unavailable(format!("stream \"{name}\" cannot be made: {error}"))),
    }
}

async fn update(context: &Context, mut config: Config) -> Result<(), Error> {
    let name = config.name.clone();
    let subject = format!("STREAM.UPDATE.{name}");
    let mut outcome = ask::<Info>(context, subject.clone(), &config).await?;
    if let Err(error) = &outcome
        && error.error_code() == VIOLATES_CONSUMERS
        && let Some(kept) = config.consumer_limits.take()
    {
        // Consumers of drivers have the longer time. It goes down with the last of them, at a later connection.
        tracing::warn!(stream = name, %error, "places of drivers are kept longer than configured");
        let Ok(found) = ask::<Info>(context, format!("STREAM.INFO.{name}"), &json!({})).await? else {
            return Err(Error::Unavailable(format!("stream \"{name}\" cannot be read")));
        };
        config.consumer_limits = found.config.consumer_limits.or(Some(kept));
        outcome = ask(context, subject, &config).await?;
    }
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Unavailable(format!("stream \"{name}\" cannot be updated: {error}"))),
    }
}

/// The streams that hold subjects of `wanted`.
async fn owners(context: &Context, wanted: &Config) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Names {
        streams: Option<Vec<String>>,
    }
    let mut owners = Vec::new();
    for subject in &wanted.subjects {
        if let Ok(names) = ask::<Names>(context, "STREAM.NAMES".to_owned(), &json!({ "subject": subject })).await? {
            owners.extend(names.streams.unwrap_or_default().into_iter().map(|name| format!("\"{name}\"")));
        }
    }
    owners.sort();
    owners.dedup();
    Ok(owners.join(", "))
}

/// One field that differs.
struct Difference {
    text: String,
    /// Whether the server lets it be changed without a loss.
    can_be_mended: bool,
}

/// What `found` has otherwise than `wanted`, in what the bus relies on; placement and replicas are the operator's.
fn differences(wanted: &Config, found: &Config) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut compare = |field: &str, (wanted, found): (String, String), can_be_mended: bool| {
        if wanted != found {
            all.push(Difference { text: format!("{field} is {found} and must be {wanted}"), can_be_mended });
        }
    };
    let of_both = |show: fn(&Config) -> String| (show(wanted), show(found));
    let gains_only = found.subjects.iter().all(|subject| wanted.subjects.contains(subject));
    compare("subjects", of_both(subjects), gains_only);
    compare("retention", of_both(|config| format!("{:?}", config.retention).to_lowercase()), false);
    compare("storage", of_both(|config| format!("{:?}", config.storage).to_lowercase()), false);
    compare("discard", of_both(|config| format!("{:?}", config.discard).to_lowercase()), true);
    compare("max_bytes", of_both(|config| limit(config.max_bytes)), true);
    compare("max_msgs", of_both(|config| limit(config.max_messages)), true);
    compare("max_msgs_per_subject", of_both(|config| limit(config.max_messages_per_subject)), true);
    compare("max_age", of_both(|config| format!("{:?}", config.max_age)), true);
    compare("duplicate_window", of_both(|config| format!("{:?}", config.duplicate_window)), true);
    compare("consumer_limits.inactive_threshold", of_both(|config| format!("{:?}", place_kept(config))), true);
    compare("no_ack", of_both(|config| config.no_ack.to_string()), true);
    compare("sealed", of_both(|config| config.sealed.to_string()), false);
    compare("mirror", of_both(|config| config.mirror.is_some().to_string()), false);
    compare("sources", of_both(|config| config.sources.as_ref().is_some_and(|all| !all.is_empty()).to_string()), false);
    all
}

/// The stream as found, with what the bus relies on.
fn merge(wanted: &Config, found: Config) -> Config {
    Config {
        subjects: wanted.subjects.clone(),
        discard: wanted.discard,
        max_bytes: wanted.max_bytes,
        max_messages: wanted.max_messages,
        max_messages_per_subject: wanted.max_messages_per_subject,
        max_age: wanted.max_age,
        duplicate_window: wanted.duplicate_window,
        consumer_limits: wanted.consumer_limits.clone(),
        no_ack: wanted.no_ack,
        ..found
    }
}

fn subjects(config: &Config) -> String {
    let mut subjects = config.subjects.clone();
    subjects.sort();
    subjects.join(" ")
}

/// The server writes "none" as -1, or as 0 where it was written by an older one.
fn limit(limit: i64) -> String {
    if limit <= 0 { "unlimited".to_owned() } else { limit.to_string() }
}

fn place_kept(config: &Config) -> Duration {
    config.consumer_limits.as_ref().map_or(Duration::ZERO, |limits| limits.inactive_threshold)
}
