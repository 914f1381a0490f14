//! Messages of the queue: in which turn they are worked on, and what becomes of each.

use crate::engine::report::{Outcome, Report};
use crate::events::answer::Answer;
use crate::events::continuation::continuation;
use crate::events::disposition::{Disposition, delay};
use crate::events::task::{Continuation, Delivery, Item, Message, Task};
use crate::handler::{FaultClass, Function, Measurement};
use crate::queue::{QueueArn, QueueError};
use crate::s3::{Key, UploadId};
use crate::telemetry;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

/// From this size on an object is worth an invocation of its own: it takes minutes, in which the messages beside it
/// would not be acknowledged.
const LARGE: u64 = 1 << 30;
/// What is kept of an invocation's time to answer, once all is said to the queue.
const LAST: Duration = Duration::from_millis(500);

impl Function {
    /// Works on the messages of a batch and answers with those that are to be kept.
    pub(crate) async fn messages(self: &Arc<Self>, messages: Vec<Message>, deadline: Instant) -> Answer {
        let queue = messages.iter().find_map(|message| QueueArn::parse(&message.delivery.as_ref()?.queue).ok());
        let items: Vec<Item> = messages.iter().flat_map(|message| message.items.clone()).collect();
        let reports = self.in_turn(items, queue.as_ref(), deadline).await;
        let mut rest = reports.as_slice();
        let settling = messages.iter().map(|message| {
            let (own, others) = rest.split_at(message.items.len().min(rest.len()));
            rest = others;
            self.settle(message, own, queue.as_ref(), deadline)
        });
        let kept = futures_util::future::join_all(settling.collect::<Vec<_>>()).await;
        Answer::of_messages(kept.into_iter().flatten())
    }

    /// Works on records, all at a time: small objects are begun first; a large one among others is sent on alone, where
    /// there is a queue.
    pub(crate) async fn in_turn(
        self: &Arc<Self>,
        items: Vec<Item>,
        queue: Option<&QueueArn>,
        deadline: Instant,
    ) -> Vec<Report> {
        let began = Instant::now();
        let wanted = self.expect(&items);
        let left = self.find_leftovers(&items, queue, deadline).await;
        let is_alone = items.len() == 1;
        let mut reports: Vec<Option<Report>> = vec![None; items.len()];
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for (index, item) in items.into_iter().enumerate() {
            if !is_large(&item) {
                first.push((index, item));
            } else if let (false, Some(queue)) = (is_alone, queue)
                && let Some(report) = self.sent_on(&item, queue, deadline).await
            {
                reports[index] = Some(report);
            } else {
                last.push((index, item));
            }
        }
        first.append(&mut last);
        let (indices, items): (Vec<usize>, Vec<Item>) = first.into_iter().unzip();
        for (index, report) in indices.into_iter().zip(self.records(items, &left, deadline).await) {
            reports[index] = Some(report);
        }
        let reports: Vec<Report> = reports.into_iter().flatten().collect();
        if wanted > 0 {
            (self.metrics)(Measurement::Invocation(&telemetry::InvocationMetrics {
                bytes: reports.iter().map(|report| report.bytes).sum(),
                seconds: began.elapsed().as_secs_f64(),
                source_window: self.session.source.client.window(),
                target_window: self.session.target.client.window(),
            }));
        }
        reports
    }

    /// The report of a record that was sent on; `None` if it was sent on before, or could not be.
    async fn sent_on(&self, item: &Item, queue: &QueueArn, deadline: Instant) -> Option<Report> {
        let Ok(Task::Reconcile { key, size_hint, event_time_ms, continued: None, .. }) = item else { return None };
        if !self.settings.filter.includes(key.as_str()) {
            return None;
        }
        let body =
            continuation(&self.settings.source.bucket, key, *size_hint, *event_time_ms, &Continuation::default());
        if !self.sent(queue, &body, Duration::ZERO, deadline).await {
            return None;
        }
        let report = Report::new(Outcome::HandedOver, self.source_ref(Some(key)), self.target_ref(None));
        let report =
            Report { reason: Some("sent back to the queue, to get an invocation of its own".to_owned()), ..report };
        self.record_report(&report, None);
        Some(report)
    }

    /// Does what is to be done with a message; its id, if it is to be kept.
    async fn settle<'a>(
        &self,
        message: &'a Message,
        reports: &[Report],
        queue: Option<&QueueArn>,
        deadline: Instant,
    ) -> Option<&'a str> {
        let mut undone = Vec::with_capacity(reports.len());
        for (item, report) in message.items.iter().zip(reports) {
            if !self.continued_elsewhere(item, report, queue, deadline).await {
                undone.push(report.clone());
            }
        }
        let receives = message.delivery.as_ref().map_or(1, |delivery| delivery.receives);
        let delivery = message.delivery.as_ref().zip(queue);
        match (Disposition::of(&undone, receives), delivery) {
            (Disposition::Done, _) => None,
            (Disposition::Later(_) | Disposition::Dead, None) => Some(&message.id),
            (Disposition::Later(time), Some((delivery, queue))) => {
                let hiding = self.queues.delay(queue, &delivery.receipt, time);
                self.carried_out(
                    "the retry delay of a message could not be set; it is retried after the queue's visibility timeout",
                    hiding,
                    deadline,
                )
                .await;
                Some(&message.id)
            }
            (Disposition::Dead, Some((delivery, queue))) => {
                let is_buried = self.dead_lettered(delivery, queue, &undone, deadline).await;
                if is_buried { None } else { Some(&message.id) }
            }
        }
    }

    async fn dead_lettered(&self, delivery: &Delivery, queue: &QueueArn, undone: &[Report], deadline: Instant) -> bool {
        let fault = undone.iter().find_map(|report| report.fault.as_deref());
        let (class, why) =
            fault.map_or((FaultClass::Internal, String::new()), |fault| (fault.class, fault.to_string()));
        let burying = self.queues.dead_letter(queue, &delivery.body, class.name(), &why);
        self.carried_out(
            "a message could not be sent to the dead-letter queue; it stays in the queue",
            burying,
            deadline,
        )
        .await
    }

    /// Leaves an object that can be resumed to another invocation. True if there is nothing more to do about it
    /// here.
    async fn continued_elsewhere(
        &self,
        item: &Item,
        report: &Report,
        queue: Option<&QueueArn>,
        deadline: Instant,
    ) -> bool {
        let Ok(Task::Reconcile { key, size_hint, event_time_ms, continued, .. }) = item else { return false };
        let (Some(ticket), Some(queue)) = (&report.ticket, queue) else { return false };
        let before = continued.as_ref().map_or(0, |continued| continued.fruitless);
        let fruitless = if report.bytes == 0 { before.saturating_add(1) } else { 0 };
        let at = Continuation { ticket: Some(ticket.as_ref().clone()), fruitless };
        let size = report.source.size.or(*size_hint);
        let body = continuation(&self.settings.source.bucket, key, size, *event_time_ms, &at);
        if !self.sent(queue, &body, delay(report, fruitless), deadline).await {
            return false;
        }
        self.forget(key, &ticket.upload);
        true
    }

    /// The ticket is in the queue: what this sandbox's journal says of it would be told twice.
    fn forget(&self, key: &Key, upload: &UploadId) {
        let names = self.settings.target_key(key).map(|target| self.names(key, target.as_str()));
        if let Ok(names) = names
            && let Err(error) = self.journal.forget(names, upload)
        {
            warn!(error = error.to_string(), "the journal in /tmp could not be written");
        }
    }

    /// Puts a message into the queue. False if that cannot be said to have been done.
    pub(crate) async fn sent(&self, queue: &QueueArn, body: &Value, delay: Duration, deadline: Instant) -> bool {
        let is_sent = self
            .carried_out(
                "the message that continues a copy could not be sent to the queue",
                self.queues.send(queue, body, delay),
                deadline,
            )
            .await;
        if is_sent {
            info!(
                key = body["key"].as_str(),
                fruitless = body["fruitless"].as_u64(),
                "sent to the queue, to be continued by another invocation"
            );
        }
        is_sent
    }

    async fn carried_out(
        &self,
        what: &'static str,
        doing: impl Future<Output = Result<(), QueueError>>,
        deadline: Instant,
    ) -> bool {
        let until = deadline.checked_sub(LAST).unwrap_or(deadline);
        let error = match timeout_at(until, doing).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the time ran out".to_owned(),
        };
        warn!(error, "{what}");
        false
    }
}

fn is_large(item: &Item) -> bool {
    match item {
        Ok(Task::Reconcile { size_hint, .. }) => size_hint.is_some_and(|size| size >= LARGE),
        Ok(Task::Ignored { .. }) | Err(_) => false,
    }
}
