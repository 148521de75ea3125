//! Credentials that are good now: the cache with its source.

use super::cache::{Cache, Need};
use super::fetch::{Asking, fetch};
use super::{Credentials, CredentialsError, Source};
use crate::endpoint::Region;
use crate::environment::Environment;
use crate::http::Http;
use std::sync::{Arc, Mutex, PoisonError};

/// What a provider is made of.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Whom to ask.
    pub source: Source,
    /// Variables that sources read.
    pub environment: Environment,
    /// Region of STS; where there is none environment and profile say.
    pub region: Option<Region>,
}

/// Gives credentials that are good, and renews them ahead of their end. Clones share what is kept.
#[derive(Debug, Clone)]
pub struct Provider(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Source,
    asking: Asking,
    cache: Mutex<Cache>,
    /// Held by whoever asks the source: everybody else waits for that answer, or uses what there is.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Provider {
    /// Asks nobody yet. `http` also gives the clock.
    #[must_use]
    pub fn new(settings: ProviderSettings, http: &Http) -> Self {
        let asking = Asking::new(settings.environment, http.clone(), settings.region, http.clock().clone());
        let turn = Arc::default();
        Provider(Arc::new(Shared { source: settings.source, asking, cache: Mutex::default(), turn }))
    }

    /// Credentials that are good for at least [`crate::limits::EXPIRY_MARGIN`]. Asks the source when there are none, and in
    /// the background when it is time for the next; must be called in a tokio runtime.
    ///
    /// # Errors
    /// What the source said, also for a while after it was said: a source that fails is not asked all the time.
    pub async fn credentials(&self) -> Result<Arc<Credentials>, CredentialsError> {
        match self.poll() {
            Need::Nothing(credentials) => return Ok(credentials),
            Need::Patience(error) => return Err(error),
            Need::Renewal(credentials) => {
                self.renew_in_background();
                return Ok(credentials);
            }
            Need::Credentials => {}
        }
        let _turn = self.0.turn.lock().await;
        // Somebody may have asked meanwhile.
        match self.poll() {
            Need::Nothing(credentials) | Need::Renewal(credentials) => Ok(credentials),
            Need::Patience(error) => Err(error),
            Need::Credentials => {
                self.ask().await;
                match self.poll() {
                    Need::Nothing(credentials) | Need::Renewal(credentials) => Ok(credentials),
                    Need::Patience(error) => Err(error),
                    Need::Credentials => Err(self.over()),
                }
            }
        }
    }

    /// The target says that these have ended: they are not given out again.
    pub fn handle_refused(&self, credentials: &Arc<Credentials>) {
        self.cache(|cache| cache.handle_refused(credentials));
    }

    /// The target finds a signature by these wrong, or lets them do nothing: those that do not end are asked for again.
    pub(crate) fn handle_doubted(&self, credentials: &Arc<Credentials>) {
        self.cache(|cache| cache.handle_doubted(credentials));
    }

    /// What the source is called, for a person.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.source.name()
    }

    fn renew_in_background(&self) {
        let Ok(turn) = Arc::clone(&self.0.turn).try_lock_owned() else { return };
        let provider = self.clone();
        tokio::spawn(async move {
            provider.ask().await;
            drop(turn);
        });
    }

    async fn ask(&self) {
        let asked = fetch(&self.0.source, &self.0.asking).await;
        let time = self.0.asking.time.time();
        let uptime = self.0.asking.time.now().uptime;
        match asked {
            Ok(fetched) => {
                let (source, key) = (fetched.credentials.source(), fetched.credentials.access_key_id());
                let (source, key) = (source.to_owned(), key.to_owned());
                // Those that a target refuses are fetched with every call until somebody mends them.
                if self.cache(|cache| cache.handle_fetched(fetched, time, uptime)) {
                    tracing::info!(source, key, "credentials fetched");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "credentials could not be fetched");
                self.cache(|cache| cache.handle_failed(error, uptime));
            }
        }
    }

    /// The source gave what has ended already.
    fn over(&self) -> CredentialsError {
        let reason = "it gave credentials that have ended; is the clock right?";
        super::SourceError::new(self.name(), super::SourceErrorKind::Malformed, reason).into()
    }

    fn poll(&self) -> Need {
        let uptime = self.0.asking.time.now().uptime;
        self.cache(|cache| cache.poll(uptime))
    }

    fn cache<T>(&self, with: impl FnOnce(&mut Cache) -> T) -> T {
        // No code panics while it holds the lock; if it ever did, the value would still be whole.
        with(&mut self.0.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
