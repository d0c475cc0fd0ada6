//! Publishing, with the stream's confirmation.

use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;

use super::super::{Error, Message, subject};
use super::link::{Link, Phase, Role};

/// The pause after an answer that no stream takes the message: one is just being made, or elects its leader.
const RETRY: Duration = Duration::from_millis(100);

/// Publishes and waits for the confirmation.
pub(super) async fn publish(link: &Link, message: Message) -> Result<(), Error> {
    let stream = subject::destination(&message.subject)?;
    // The client stops a publish at the timeout as well; this bounds the whole of them.
    let deadline = tokio::time::Instant::now() + link.limits.timeout;
    loop {
        let epoch = link.ready().await?;
        let sent = PublishMessage::build()
            .message_id(&message.id)
            .expected_stream(stream.name())
            .payload(message.payload.clone());
        let confirmed = async { link.context.send_publish(message.subject.clone(), sent).await?.await };
        // When the connection goes, the confirmation goes with it: there is nothing to wait for.
        let mut phases = link.phase.subscribe();
        let lost = phases.wait_for(|phase| *phase != Phase::Ready(epoch));
        let error = tokio::select! {
            biased;
            confirmed = tokio::time::timeout_at(deadline, confirmed) => match confirmed {
                Ok(Ok(_)) => break,
                Ok(Err(error)) => error,
                Err(_) => PublishError::new(PublishErrorKind::TimedOut),
            },
            _ = lost => return Err(Error::Unavailable("the connection was lost before the confirmation".to_owned())),
        };
        if error.kind() != PublishErrorKind::StreamNotFound || tokio::time::Instant::now() + RETRY >= deadline {
            return Err(translate(&error));
        }
        link.doubt.notify_one();
        tokio::time::sleep(RETRY).await;
    }
    tell_live(link, &message).await;
    Ok(())
}

/// Tells the log line of a remote driver to whoever listens at this moment.
async fn tell_live(link: &Link, message: &Message) {
    if let Role::Driver(driver) = &link.role
        && let Some(run) = message.subject.strip_prefix("logs.")
    {
        // Nobody is promised that a live line arrives; it is stored.
        let _ = link.client.publish(subject::live_logs(run, driver), message.payload.clone()).await;
    }
}

fn translate(error: &PublishError) -> Error {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => Error::Refused(error.to_string()),
        _ => Error::Unavailable(error.to_string()),
    }
}
