//! What a router goes by, whole: routes, names, shapes of streams. Another one can be put in its place while publishes come.
//!
//! In: settings. Out: a plan that was checked, with its streams created; then the plan of every call that begins from now on.
//! Invariants: a call goes by one plan from its first publish to its last, and one that has to be offered again may go by the next; marks
//! of repeats, counters and devices belong to the router and outlive every plan.

use super::{Router, RouterError, RouterSettings};
use crate::config::Stream;
use crate::ingest::Said;
use crate::route::creation::Creation;
use crate::route::take::Rules;
use headwater_engine::{Engine, StreamName};
use headwater_telemetry::TimeQuality;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a router goes by.
pub(crate) struct Plan {
    pub(super) rules: Rules,
    pub(super) creation: Arc<Creation>,
    pub(super) time_quality: TimeQuality,
}

impl Plan {
    /// Checks names and creates the streams that are known by name. `before` is the plan that this one follows.
    pub(super) async fn prepare(
        engine: Engine,
        settings: &RouterSettings,
        before: Option<&Plan>,
    ) -> Result<Plan, RouterError> {
        let rules = Rules::new(settings.routes.clone(), &settings.dead_letter).ok_or(RouterError::Name)?;
        let creation = Creation {
            engine,
            runtime: tokio::runtime::Handle::current(),
            shapes: settings.streams.clone(),
            defaults: settings.stream_defaults,
            allowed: settings.create_streams,
            attempts: before.map(|before| Arc::clone(&before.creation.attempts)).unwrap_or_default(),
        };
        creation.create_known(&rules).await?;
        Ok(Plan { rules, creation: Arc::new(creation), time_quality: settings.time_quality })
    }
}

impl Router {
    /// Checks what a configuration says of routes and streams, and creates the streams that are known by name. Streams that exist keep
    /// their shape until [`Router::follow`].
    pub(crate) async fn prepare(&self, settings: &RouterSettings) -> Result<Plan, RouterError> {
        let before = self.plan();
        Plan::prepare(self.engine.clone(), settings, Some(&before)).await
    }

    /// Calls that begin from now on go by `plan`; those under way end as they began. Returns the births that subscribers are told now and
    /// were not before.
    pub(crate) fn follow(&self, plan: Plan) -> Vec<Said> {
        plan.creation.forgive();
        let plan = Arc::new(plan);
        let before = std::mem::replace(&mut self.idle().plan, Arc::clone(&plan));
        if before.rules.routes == plan.rules.routes {
            return Vec::new();
        }
        let told: std::collections::BTreeSet<String> =
            self.births_by(&before).into_iter().map(|said| said.topic).collect();
        self.births_by(&plan).into_iter().filter(|said| !told.contains(&said.topic)).collect()
    }

    /// The plan of calls that begin now.
    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.idle().plan)
    }

    /// Gives streams of `next` that exist the retention it says, where `now` says another. One that its owner changed through the API
    /// stays as it is until the configuration is changed.
    ///
    /// # Errors
    /// The stream whose retention could not be changed, and why; streams before it have theirs.
    pub(crate) async fn reshape(
        &self,
        now: &BTreeMap<String, Stream>,
        next: &BTreeMap<String, Stream>,
    ) -> Result<(), String> {
        for (name, shape) in next {
            let said_before = now.get(name).map(|before| before.retention_hours);
            let Some(stream) = StreamName::parse(name).ok().and_then(|name| self.engine.stream(&name)) else {
                continue;
            };
            let has = stream.state().definition.retention_hours;
            if said_before.is_none_or(|before| before == shape.retention_hours)
                || has == shape.retention_hours
            {
                continue;
            }
            let longer = shape.retention_hours > has;
            let operation =
                if longer { "IncreaseStreamRetentionPeriod" } else { "DecreaseStreamRetentionPeriod" };
            let body = json!({"StreamName": name, "RetentionPeriodHours": shape.retention_hours});
            let answer = self.engine.call(operation, body.to_string().as_bytes()).await;
            if answer.status != 200 {
                let said = String::from_utf8_lossy(&answer.body).into_owned();
                return Err(format!("streams.{name}.retention is not taken: {said}"));
            }
            tracing::info!(
                stream = name,
                hours = shape.retention_hours,
                "stream keeps its records so long from now on"
            );
        }
        Ok(())
    }
}
