//! One call: signed, sent, and its answer or its error read.

use super::error::{About, CallError, Class, Said, Thing};
use super::put::PutBody;
use super::records::{PutAnswer, read_outcomes};
use super::setup::KinesisSettings;
use super::signed::Sending;
use crate::credentials::{Credentials, Provider};
use crate::endpoint::{Endpoint, Region};
use crate::http::{Answer, Http};
use crate::timekeeper::Timekeeper;
use crate::timestamp::Timestamp;
use crate::wire::{Field, Format, encode};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const X_AMZ_ERROR: HeaderName = HeaderName::from_static("x-amzn-errortype");
const X_AMZ_REQUEST: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// A client of one endpoint. Clones share connections, credentials and what was learned.
#[derive(Debug, Clone)]
pub struct Kinesis(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    place: String,
    region: Region,
    provider: Provider,
    http: Http,
    time: Timekeeper,
    timeout: Duration,
    /// Whether JSON may be spoken where CBOR is not understood.
    may_fall_back: bool,
    /// [`UNKNOWN`], or the one both sides speak.
    spoken: AtomicU8,
}

const UNKNOWN: u8 = 0;
const JSON: u8 = 1;
const CBOR: u8 = 2;

/// Which format is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormatChoice {
    /// CBOR where the target is known to read blobs in it: AWS, and whoever answers DescribeStreamSummary in AWS's dialect,
    /// with tagged times. JSON otherwise: kinesalite for one takes CBOR and stores something else than the data.
    #[default]
    Learn,
    /// JSON.
    Json,
    /// CBOR, whatever the target says to it.
    Cbor,
}

/// An answer of success.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) body: Vec<u8>,
    pub(super) format: Format,
}

impl Reply {
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self, about: About<'_>) -> Result<T, CallError> {
        let read = self.format.decode(&self.body);
        read.ok_or_else(|| about.malformed("the answer is not what the service model says"))
    }
}

impl Kinesis {
    pub(super) fn assemble(
        settings: &KinesisSettings,
        region: Region,
        endpoint: Endpoint,
        provider: Provider,
        http: Http,
    ) -> Self {
        let spoken = match settings.format {
            FormatChoice::Json => JSON,
            FormatChoice::Cbor => CBOR,
            FormatChoice::Learn if endpoint.is_aws() => CBOR,
            FormatChoice::Learn => UNKNOWN,
        };
        Kinesis(Arc::new(Shared {
            place: endpoint.to_string(),
            endpoint,
            region,
            provider,
            time: Timekeeper::new(http.clock().clone()),
            http,
            timeout: settings.timeout,
            may_fall_back: settings.format == FormatChoice::Learn,
            spoken: AtomicU8::new(spoken),
        }))
    }

    /// Sends records and says of each what became of it, in their order.
    ///
    /// # Errors
    /// [`CallError`] when the call failed as a whole: with `may_be_done` some or all records may be stored.
    pub async fn put_records(&self, mut body: PutBody) -> Result<PutAnswer, CallError> {
        let stream = body.stream().clone();
        let about = self.about("PutRecords", stream.as_str());
        if body.is_empty() {
            return Ok(PutAnswer::default());
        }
        let count = body.len();
        let format = body.format();
        let sealed = body.seal();
        let deadline = Instant::now() + self.0.timeout;
        let reply = match self.exchange(about, &sealed, format, deadline).await {
            Err(error) if format == Format::Cbor && self.0.may_fall_back && is_not_understood(&error) => {
                let again = body.in_json(&sealed).seal();
                let reply = self.exchange(about, &again, Format::Json, deadline).await;
                if reply.is_ok() {
                    self.settle(Format::Json);
                }
                reply?
            }
            reply => reply?,
        };
        read_outcomes(&reply, count, about)
    }

    /// The format bodies should be written in. JSON until the target has answered something ([`Kinesis::describe`]).
    #[must_use]
    pub fn format(&self) -> Format {
        if self.0.spoken.load(Ordering::Relaxed) == CBOR { Format::Cbor } else { Format::Json }
    }

    /// Where calls go to, for a person.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.0.place
    }

    /// The region calls are signed for.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.0.region
    }

    /// Where signatures come from.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.0.provider
    }

    /// Milliseconds that this machine's clock is behind the target's (negative when ahead); nothing before the first answer.
    #[must_use]
    pub fn clock_behind_ms(&self) -> Option<i64> {
        self.0.time.behind_ms()
    }

    /// What time it is by the target's clock, as far as it is known.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.0.time.time()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    pub(super) fn about<'a>(&'a self, operation: &'static str, subject: &'a str) -> About<'a> {
        About { operation, subject, endpoint: &self.0.place }
    }

    /// A call of a few fields. Finds out which format is spoken where that is not known yet.
    pub(super) async fn ask(
        &self,
        about: About<'_>,
        fields: &[(&str, Field<'_>)],
    ) -> Result<Reply, CallError> {
        let deadline = Instant::now() + self.0.timeout;
        let call = async |format| {
            let body = Bytes::from(encode(fields, format));
            self.exchange(about, &body, format, deadline).await
        };
        // Only this answer shows the dialect, and what changes something must not be asked twice.
        let shows = about.operation == "DescribeStreamSummary";
        if self.0.spoken.load(Ordering::Relaxed) != UNKNOWN || !shows {
            return match call(self.format()).await {
                Err(error)
                    if self.format() == Format::Cbor && self.0.may_fall_back && is_not_understood(&error) =>
                {
                    let reply = call(Format::Json).await?;
                    self.settle(Format::Json);
                    Ok(reply)
                }
                reply => reply,
            };
        }
        match call(Format::Cbor).await {
            Ok(reply) if reply.format == Format::Cbor && is_dialect(&reply.body) => {
                self.settle(Format::Cbor);
                return Ok(reply);
            }
            // Nobody there: nothing learned.
            Err(error) if error.status.is_none() => return Err(error),
            _ => {}
        }
        let reply = call(Format::Json).await;
        let speaks =
            reply.as_ref().map_or_else(|error| !error.code.is_empty() && error.class.passes(), |_| true);
        if speaks {
            self.settle(Format::Json);
        }
        reply
    }

    fn settle(&self, format: Format) {
        let spoken = if format == Format::Cbor { CBOR } else { JSON };
        if self.0.spoken.swap(spoken, Ordering::Relaxed) != spoken {
            tracing::info!(endpoint = self.0.place, ?format, "the target speaks");
        }
    }

    /// Sends a body, again when the clock was wrong, again when the credentials had ended.
    pub(super) async fn exchange(
        &self,
        about: About<'_>,
        body: &Bytes,
        format: Format,
        deadline: Instant,
    ) -> Result<Reply, CallError> {
        let (mut clock_tried, mut credentials_tried) = (false, None::<Arc<Credentials>>);
        loop {
            let credentials = tokio::time::timeout_at(deadline, self.0.provider.credentials()).await;
            let Ok(credentials) = credentials else {
                let message = format!("{} gave no credentials in time", self.0.provider.name());
                return Err(CallError { class: Class::Retry, ..about.local(Thing::Credentials, &message) });
            };
            let credentials = credentials.map_err(|error| about.unsigned(error))?;
            if credentials_tried.as_ref().is_some_and(|tried| **tried == *credentials) {
                let message =
                    format!("credentials of {} are refused and no others came", credentials.source());
                let error = about.local(Thing::Credentials, &message);
                // A source of temporary ones will have others by itself; lasting ones are changed by a person.
                let is_temporary = credentials.session_token().is_some();
                let class = if is_temporary { Class::Expired } else { error.class };
                return Err(CallError { class, ..error });
            }
            let time = self.0.time.time();
            let sending = Sending {
                endpoint: &self.0.endpoint,
                region: &self.0.region,
                credentials: &credentials,
                time,
                format,
                body,
                timeout: deadline.saturating_duration_since(Instant::now()),
            };
            let request = sending.request(about)?;
            let mut answer = self.0.http.send(request).await.map_err(|error| about.unanswered(error))?;
            let was_far_off = self.0.time.learn(&answer, time);
            let spoken = Format::of_answer(answer.header(&CONTENT_TYPE));
            if answer.status == 200 {
                return Ok(Reply {
                    body: std::mem::take(&mut *answer.body),
                    format: spoken.unwrap_or(format),
                });
            }
            let said = said(&answer, spoken);
            if said.is_about_time() && was_far_off && !clock_tried {
                let behind_ms = self.0.time.behind_ms();
                tracing::warn!(
                    endpoint = self.0.place,
                    behind_ms,
                    "the clock is wrong; signing by the target's"
                );
                clock_tried = true;
                continue;
            }
            let error = about.refused(said, answer.status);
            if error.class == Class::Expired && credentials_tried.is_none() {
                self.0.provider.handle_refused(&credentials);
                credentials_tried = Some(credentials);
                continue;
            }
            if matches!(error.class, Class::Final(Thing::Credentials | Thing::Permission)) {
                self.0.provider.handle_doubted(&credentials);
            }
            return Err(error);
        }
    }
}

fn said(answer: &Answer, spoken: Option<Format>) -> Said {
    Said::read(&answer.body, spoken, answer.header(&X_AMZ_ERROR), answer.header(&X_AMZ_REQUEST))
}

/// Whether an answer has its time as AWS writes it: milliseconds under a tag. Who gets that right knows what a blob is.
fn is_dialect(body: &[u8]) -> bool {
    let tagged = b"\x77StreamCreationTimestamp\xc1";
    body.windows(tagged.len()).any(|window| window == tagged)
}

/// What servers answer to a body they cannot read; whether it was the format, a second try in JSON tells. Never a failure of
/// the server's own: after that the records may be stored.
fn is_not_understood(error: &CallError) -> bool {
    let codes = ["SerializationException", "UnknownOperationException", "UnsupportedMediaTypeException", ""];
    codes.contains(&&*error.code) && matches!(error.status, Some(400 | 404 | 406 | 415 | 501))
}
