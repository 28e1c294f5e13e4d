//! Whether what a client reads is what the contract promises.

use roadcast::limits::Limits;
use roadcast::shard::charge::{SUBSCRIPTION_BYTES, topic_bytes};

use super::super::book::{BUS, Book, KEPT, Key, Message};
use super::super::desk::{Verdict, verdict_of};
use super::super::wire;
use super::recovering::{Told, offset_of, other_form};
use super::{Client, Command, Ended, Expected, Goodbye, Heard, Subscription};

impl Client {
    /// A Close: it must have a reason.
    pub(super) fn closed(&mut self, payload: &[u8], book: &Book) {
        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        // A Close does not wait for what waits for the hub or the desk.
        let answered = match self.expected.front() {
            Some(Expected::Reply(command)) => command.join,
            Some(Expected::Token(_)) => true,
            Some(Expected::Echo(..)) => false,
            None => true,
        };
        match (code, self.goodbye) {
            (Some(1001), _) if book.goodbyes => {}
            (Some(1013), _) if !self.is_steady() => {}
            (Some(1012), _) if book.losses.closes && book.losses.has_gap(self.host) => {}
            (Some(4401), _) if self.expiring => {}
            (code, Some(Goodbye::Close(sent))) if code == sent => {
                assert!(answered, "{:?}", self.expected)
            }
            (Some(code), Some(Goodbye::Violation(due))) if code == due => {
                assert!(answered, "{:?}", self.expected)
            }
            _ => panic!("Close {code:?} without a reason: {self:?}"),
        }
        self.ended = Some(Ended::Close(code));
    }

    /// A reply: it must be that to the oldest command, and as the limits have it.
    pub(super) fn reply(&mut self, payload: &[u8], book: &Book, limits: &Limits) {
        let text = std::str::from_utf8(payload).expect("JSON");
        let command = match self.expected.pop_front() {
            Some(Expected::Reply(command)) => command,
            Some(Expected::Token(good)) => {
                let [yes, no] = ["@token", "#token"].map(|topic| wire::reply(topic, &[""; 0]));
                self.tokens += 1;
                // Of many that come at once the first are looked at.
                let may_fail = !good || book.desk_fails || self.tokens > 4;
                let right = (good && text == yes) || (may_fail && text == no);
                return assert!(right, "{text} to a token, good: {good}");
            }
            other => panic!("unasked: {text} for {other:?}"),
        };
        let broker = match command.broker.as_str() {
            "bus" => 1,
            // One that there is not means the default one.
            _ => 0,
        };
        let (done, refused) = if command.join { ("@join", "#join") } else { ("@leave", "#leave") };
        let (text, told) = match &command.recovery {
            Some(_) => Told::read(text),
            None => (text.to_owned(), Told::default()),
        };
        let is = |topic| text == wire::reply(topic, &command.topics);
        assert!(is(done) || is(refused), "{text} to {command:?}");
        let counts = command.recovery.is_some();
        let form = |topic: &String| match counts && broker == 0 && book.keeps(topic) {
            true => (KEPT, topic.clone()),
            false => (broker, topic.clone()),
        };
        let mut keys: Vec<Key> = command.topics.iter().map(form).collect();
        if !command.join {
            assert!(is(done), "{text}");
            let left = |(of, topic): &Key| of % KEPT == broker && command.topics.contains(topic);
            self.subscriptions.retain(|key, _| !left(key));
            return;
        }
        if keys.iter().any(|key| self.subscriptions.contains_key(&other_form(key, broker))) {
            return assert!(is(refused), "joined in another form: {text}");
        }
        keys.retain(|key| !self.subscriptions.contains_key(key));
        let cost = |key: &Key| topic_bytes(key.1.len()) + SUBSCRIPTION_BYTES;
        let (asked, asked_bytes) = (keys.len(), keys.iter().map(cost).sum::<usize>());
        keys.sort();
        keys.dedup();
        keys.retain(|(_, topic)| !topic.is_empty());
        let too_long = command.topics.iter().any(|topic| topic.len() > limits.topic_bytes);
        let room = limits.topics_per_connection - self.subscriptions.len();
        let bytes =
            limits.subscriptions_bytes_per_connection - self.topics().map(cost).sum::<usize>();
        let shard_has_room =
            limits.topics == usize::MAX && limits.subscriptions_bytes == usize::MAX;
        let verdicts = || command.topics.iter().map(|topic| verdict_of(topic));
        let forbids = |verdict| matches!(verdict, Verdict::Denied | Verdict::Asked(false));
        if book.asks && verdicts().any(forbids) {
            return assert!(is(refused), "may not be joined: {text}");
        }
        let may_fail =
            book.desk_fails && verdicts().any(|verdict| matches!(verdict, Verdict::Asked(_)));
        let losses = &book.losses;
        let unavailable =
            keys.iter().any(|key| losses.is_unavailable_since(self.host, key, command.sent));
        if too_long || keys.len() > room || keys.iter().map(cost).sum::<usize>() > bytes {
            assert!(is(refused), "over a limit: {text}");
        } else if asked <= room
            && asked_bytes <= bytes
            && shard_has_room
            && !book.drained
            && !may_fail
            && !unavailable
        {
            // Topics named twice may count twice.
            assert!(is(done), "within the limits: {text}");
        }
        if is(done) {
            for key in keys {
                let (since, next, first, heard) = (book.now(), None, None, None);
                let mut subscription = Subscription { since, next, first, heard };
                if key.0 == KEPT {
                    self.told(&key, &command, &told, &mut subscription, book);
                }
                self.subscriptions.insert(key, subscription);
            }
            if command.gaps {
                self.heed(broker, &command, book);
            }
        }
    }

    /// A join that asks for gaps is done: from some moment between then and now on it is told.
    fn heed(&mut self, broker: u16, command: &Command, book: &Book) {
        for topic in &command.topics {
            let key = (broker, topic.clone());
            let Some(subscription) = self.subscriptions.get_mut(&key) else { continue };
            let gaps = book.losses.gaps(self.host, &key);
            let before = gaps.iter().filter(|(_, at)| *at <= command.sent).count();
            let all = gaps.len();
            subscription.heard.get_or_insert(Heard { least: before, most: all, before_asked: all });
        }
    }

    /// Word that something may be missing: it has asked, and it is so.
    pub(super) fn gap(&mut self, payload: &[u8], book: &Book) {
        let text = std::str::from_utf8(payload).expect("JSON");
        let topic = text.split('"').nth(7).expect("a topic").to_owned();
        assert_eq!(text, wire::reply("@gap", &[&topic]));
        let key = (BUS, topic);
        let coalesces = book.skips(&key) && !self.is_steady();
        let subscription = self.subscriptions.get_mut(&key);
        let heard = subscription.and_then(|subscription| subscription.heard.as_mut());
        let Some(Heard { least, most, .. }) = heard else {
            panic!("{text} to somebody who has not asked")
        };
        let all = book.losses.gaps(self.host, &key).len();
        assert!(*least < all, "{text}: told before, or there is none");
        *least += 1;
        *most = if coalesces { all } else { all.min(*most + 1) };
    }

    /// A publication: it must be the next of its topic, as it was published.
    pub(super) fn publication(&mut self, payload: &[u8], frame: &[u8], book: &Book) {
        let (mut key, message) = Message::of(payload);
        let offset = offset_of(payload);
        if offset.is_some() {
            key.0 = KEPT;
        }
        let Some(place) = book.place(&key, message) else {
            panic!("{key:?} {message:?} from nowhere")
        };
        assert!(
            book.at(&key, place).unwrap().1[..] == *frame,
            "{key:?} {message:?} as it was published"
        );
        assert!(offset.is_none_or(|offset| offset == place.1), "{key:?} {place:?}: {offset:?}");
        self.publications += 1;
        let may_skip = book.skips(&key) && !self.is_steady();
        let Some(subscription) = self.subscriptions.get_mut(&key) else {
            panic!("{key:?} {message:?} to somebody who has not joined")
        };
        if let Some(Heard { least, most, before_asked }) = &mut subscription.heard {
            let gaps = book.losses.gaps(self.host, &key);
            let before = gaps.iter().filter(|(gap, _)| *gap <= place).count();
            assert!(
                (*least..=*most).contains(&before),
                "{key:?} {place:?} behind {before} gaps, {least} to {most} are told"
            );
            // The reply to a join of what is joined already may pass publications.
            *least = before.max(*least);
            *most = before.max(*before_asked.min(most));
        }
        let behind = self.behind.entry(key.clone()).or_default();
        match subscription.next {
            Some(next) if may_skip => {
                assert!(
                    place.0 == next.0 && place >= next,
                    "{key:?} {place:?}: {next:?} or a later one"
                );
                self.missed += place.1 - next.1;
            }
            Some(next) => assert_eq!(place, next, "{key:?}: the next one"),
            None if subscription.first.is_some_and(|(from, to)| (from..=to).contains(&place.1)) => {
            }
            None if may_skip => {
                assert!(place >= *behind, "{key:?} {place:?}: not before {behind:?}")
            }
            None => assert!(
                place >= *behind && book.may_begin(&key, place, subscription.since),
                "{key:?} {place:?}: the first since @join, not before {behind:?}",
            ),
        }
        subscription.next = Some((place.0, place.1 + 1));
        *behind = (place.0, place.1 + 1);
    }

    /// Everything that it was promised has come.
    pub fn check_complete(&self, book: &Book, newest_dropped: bool) {
        assert!(self.stream.is_empty() && self.kernel.is_empty(), "half a frame: {self:?}");
        for (key, subscription) in &self.subscriptions {
            let end = book.end(self.host, key);
            // Also where older ones were skipped the newest comes, unless the server shuts down
            // first or keeps too many.
            if (self.ended.is_some() || newest_dropped) && book.skips(key) && !self.is_steady() {
                assert!(subscription.next.is_none_or(|next| next <= end));
                continue;
            }
            if let Some(heard) = &subscription.heard {
                let gaps = book.losses.gaps(self.host, key).len();
                assert_eq!(heard.most, gaps, "{key:?}: gaps told of those that there were");
            }
            let complete = match subscription.next {
                Some(next) => next == end,
                None if key.0 == KEPT => subscription.first.is_some_and(|(_, to)| to == end.1),
                None => book.may_begin(key, end, subscription.since),
            };
            assert!(
                complete,
                "{key:?} up to {end:?}: {subscription:?} of {:?} on shard {}",
                self.id, self.host
            );
        }
        if self.ended.is_none() {
            assert!(self.expected.is_empty(), "unanswered: {:?}", self.expected);
            assert_eq!(self.pongs, self.pings, "every ping is answered");
        }
    }

    /// The server has ended its direction and all has been read: the last was a whole Close, or an
    /// HTTP answer.
    pub fn check_finished(&self) {
        assert!(self.ended.is_some(), "finished without a last word: {self:?}");
        assert!(self.stream.is_empty() || self.ended == Some(Ended::Refused));
    }
}
