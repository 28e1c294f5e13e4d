//! Random interest, publications, and shards that take now and then, against what each shard must
//! see.

use std::collections::HashMap;

use rand::prelude::*;

use super::*;

#[test]
fn every_shard_sees_each_topic_gapless_from_its_answer_on() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let shards = random.random_range(1..=4);
        let (mut lanes, mut ends) =
            lanes(shards, random.random_range(1..6), random.random_range(1..30));
        let names = ["a", "b", "c"];
        // Per shard and topic: wants it (and the question is answered), and the sequence seen last.
        let mut wants = vec![[false; 3]; shards];
        let mut asked = vec![[false; 3]; shards];
        let mut seen: HashMap<(usize, usize), Option<u64>> = HashMap::new();
        let mut waiting: Vec<Offer> = Vec::new();
        let mut received = vec![0u64; shards];
        let mut settle =
            |lanes: &mut Lanes, shard: usize, end: &mut ShardEnd, asked: &mut [[bool; 3]]| {
                let Some(entry) = end.down.pop() else { return false };
                match entry {
                    Down::Interested { topic, sequence } => {
                        seen.insert((shard, topic.index as usize), Some(sequence));
                        asked[shard][topic.index as usize] = false;
                    }
                    Down::Uninterested { topic } => {
                        seen.insert((shard, topic.index as usize), None);
                        asked[shard][topic.index as usize] = false;
                    }
                    Down::Publish { topic, sequence, .. } => {
                        let last =
                            seen.get_mut(&(shard, topic.index as usize)).unwrap().as_mut().unwrap();
                        assert_eq!(sequence, *last + 1, "seed {seed}: gapless");
                        *last = sequence;
                        received[shard] += 1;
                    }
                    entry => panic!("{entry:?}"),
                }
                lanes.want_room();
                true
            };
        for _ in 0..400 {
            let (shard, topic) = (random.random_range(0..shards), random.random_range(0..3));
            match random.random_range(0..10) {
                0..2 if !asked[shard][topic] => {
                    asked[shard][topic] = true;
                    let wanted = &mut wants[shard][topic];
                    *wanted = !*wanted;
                    if *wanted {
                        lanes.interested(shard, id(topic as u32), key(names[topic]));
                    } else {
                        lanes.uninterested(shard, id(topic as u32));
                    }
                }
                0..6 => {
                    let mut offer =
                        publish(&mut lanes, names[topic], frame(random.random_range(1..12)));
                    if !is_pushed(&mut offer) {
                        waiting.push(offer);
                    }
                }
                6..9 => {
                    settle(&mut lanes, shard, &mut ends[shard], &mut asked);
                }
                _ => {
                    lanes.advance();
                }
            }
        }
        // Shards that drain let everything go.
        loop {
            let mut progress = lanes.advance();
            for (shard, end) in ends.iter_mut().enumerate() {
                progress |= settle(&mut lanes, shard, end, &mut asked);
            }
            if !progress {
                break;
            }
        }
        assert!(waiting.iter_mut().all(is_pushed), "seed {seed}: nothing waits for empty lanes");
        assert_eq!(
            received.iter().sum::<u64>(),
            lanes.counters.publications_pushed.value(),
            "seed {seed}"
        );
        for topic in 0..3 {
            let last: Vec<_> =
                (0..shards).filter_map(|s| seen.get(&(s, topic)).copied().flatten()).collect();
            assert!(
                last.windows(2).all(|two| two[0] == two[1]),
                "seed {seed}: all shards end alike {last:?}"
            );
        }
    }
}
