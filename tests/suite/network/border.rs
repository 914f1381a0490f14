//! The decisions of `benches/border`: what a link does to packets, which link there is when, what a forged reset looks
//! like, and how all of it is written.

#[path = "../../../benches/border/bottleneck.rs"]
mod bottleneck;
#[path = "../../../benches/border/flight.rs"]
mod flight;
#[path = "../../../benches/border/flows.rs"]
mod flows;
#[path = "../../../benches/border/link.rs"]
mod link;
#[path = "../../../benches/border/options.rs"]
mod options;
#[path = "../../../benches/border/packet.rs"]
mod packet;
#[path = "../../../benches/border/schedule.rs"]
mod schedule;
#[path = "../../../benches/border/way.rs"]
mod way;

use bottleneck::{Bottleneck, Fate};
use flight::{Flight, MTU};
use flows::Flows;
use link::{Link, LinkError};
use options::{Congestion, Options, OptionsError, USAGE};
use packet::{Flow, Kind, Segment, checksum, forge_reset};
use schedule::Schedule;
use std::time::Duration;
use way::{Counts, Way};

const ZERO: Duration = Duration::ZERO;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A link on which 1,250 bytes take 10 ms, so that 11 packets fit into the queue.
fn slow() -> Link {
    Link::read("usual,rate=1mbit,loss=0,queue=100ms,rtt=200ms").unwrap()
}

#[test]
fn a_random_path_is_the_same_for_its_seed_and_within_its_bounds() {
    let paths: Vec<Link> = (1..=200).map(|seed| Link::read(&format!("random-{seed}")).unwrap()).collect();
    for (seed, path) in (1..).zip(&paths) {
        assert_eq!(*path, Link::read(&format!("random-{seed}")).unwrap());
        let (rtt, queue) = (path.rtt.as_millis(), path.queue.as_millis());
        assert!((20..=300).contains(&rtt) && (20..=300).contains(&queue), "{seed}: {path}");
        assert!((20_000_000..=600_000_000).contains(&path.rate) && (0.0..=0.01).contains(&path.loss), "{seed}: {path}");
    }
    let count = |has: fn(&Link) -> bool| paths.iter().filter(|path| has(path)).count();
    assert!((20..100).contains(&count(|path| path.loss == 0.0)) && (60..140).contains(&count(|path| path.competing)));
    assert!(Link::read("random-").is_err() && Link::read("random-x").is_err());
}

fn flow() -> Flow {
    Flow { from: "198.18.0.1:40000".parse().unwrap(), to: "198.18.1.3:443".parse().unwrap() }
}

/// A TCP packet with options in both headers.
fn packet(flow: Flow, flags: u8, seq: u32, data: usize) -> Vec<u8> {
    let total = u16::try_from(24 + 32 + data).unwrap().to_be_bytes();
    let mut packet = vec![0x46, 0, total[0], total[1], 0, 1, 0x40, 0, 64, 6, 0, 0];
    packet.extend(flow.from.ip().octets());
    packet.extend(flow.to.ip().octets());
    packet.extend([1; 4]);
    packet.extend(flow.from.port().to_be_bytes());
    packet.extend(flow.to.port().to_be_bytes());
    packet.extend(seq.to_be_bytes());
    packet.extend([0, 0, 0, 0, 8 << 4, flags, 0, 0, 0, 0, 0, 0]);
    packet.extend([1; 12]);
    packet.extend(vec![7; data]);
    packet
}

fn admit(way: &mut Way, packet: &[u8], now: Duration) {
    way.room().unwrap()[..packet.len()].copy_from_slice(packet);
    way.admit(packet.len(), now);
}

fn way(link: Link) -> Way {
    Way::new(Schedule::new(link, Vec::new()), 1)
}

/// Everything that a way still delivers: when, and what.
fn drain(way: &mut Way) -> Vec<(Duration, Vec<u8>)> {
    let mut delivered = Vec::new();
    while let Some(due) = way.next_due() {
        delivered.push((due, way.due(due).unwrap().to_vec()));
        way.delivered();
    }
    delivered
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;

#[test]
fn a_packet_waits_for_those_before_it_and_half_the_round_trip() {
    let mut bottleneck = Bottleneck::new(1);
    let fates: Vec<Fate> = (0..3).map(|_| bottleneck.pass(&slow(), 1250, ZERO)).collect();
    assert_eq!(fates, [Fate::Due(millis(110)), Fate::Due(millis(120)), Fate::Due(millis(130))]);
    assert_eq!(bottleneck.queued(&slow(), ZERO), 3 * 1250);
    assert_eq!(bottleneck.queued(&slow(), millis(20)), 1250);
    assert_eq!(bottleneck.pass(&slow(), 1250, millis(500)), Fate::Due(millis(610)));
}

#[test]
fn what_would_wait_longer_than_the_queue_is_dropped() {
    let mut bottleneck = Bottleneck::new(1);
    let dropped = (0..20).filter(|_| bottleneck.pass(&slow(), 1250, ZERO) == Fate::Dropped).count();
    assert_eq!(dropped, 9);
    assert_eq!(bottleneck.pass(&slow(), 1250, millis(10)), Fate::Due(millis(220)));
}

#[test]
fn the_share_of_losses_is_the_links_and_the_same_for_a_seed() {
    let link = Link::read("good,loss=0.5%").unwrap();
    let losses = |seed| {
        let mut bottleneck = Bottleneck::new(seed);
        let is_lost = |packet: u32| bottleneck.pass(&link, 1500, millis(1) * packet) == Fate::Lost;
        (0..200_000).map(is_lost).collect::<Vec<bool>>()
    };
    let lost = losses(1).iter().filter(|lost| **lost).count();
    // The mean is 1,000 and the deviation 32.
    assert!((840..1160).contains(&lost), "{lost}");
    assert_eq!(losses(1), losses(1));
    assert_ne!(losses(1), losses(2));
}

#[test]
fn bursts_of_loss_end_each_period() {
    let flaky = Link::read("flaky").unwrap();
    let share = |from: u64| {
        let mut bottleneck = Bottleneck::new(1);
        let times = (0..20_000).map(|packet| millis(from) + Duration::from_micros(45) * packet);
        times.filter(|now| bottleneck.pass(&flaky, 1000, *now) == Fate::Lost).count()
    };
    assert!(share(20_000) < 40, "{}", share(20_000));
    assert!((1800..2200).contains(&share(29_050)), "{}", share(29_050));
    assert_eq!((flaky.loss_at(millis(8999)), flaky.loss_at(millis(9000))), (0.0005, 0.1));
}

#[test]
fn another_link_takes_its_place_at_its_time() {
    let [good, evening, flaky] = ["good", "evening", "flaky"].map(|name| Link::read(name).unwrap());
    let then = vec![(millis(90), flaky.clone()), (millis(60), evening.clone())];
    let schedule = Schedule::new(good.clone(), then);
    for (at, expected) in [(0, &good), (59, &good), (60, &evening), (89, &evening), (90, &flaky), (900, &flaky)] {
        assert_eq!(schedule.at(millis(at)), expected, "{at}");
    }
    assert_eq!(schedule.links().map(|(at, _)| at).collect::<Vec<_>>(), [ZERO, millis(60), millis(90)]);
    // 625 Mbit/s may meet the longest way: 125 ms, and a queue of 100.
    assert_eq!(schedule.most_in_flight(), 625_000_000 / 8 * 225 / 1000);
}

#[test]
fn a_shorter_link_does_not_reorder() {
    let then = Link::read("good,rtt=20ms,loss=0").unwrap();
    let mut way = Way::new(Schedule::new(slow(), vec![(millis(5), then)]), 1);
    for (seq, now) in [(1, 0), (2, 5), (3, 130)] {
        admit(&mut way, &packet(flow(), ACK, seq, 1194), millis(now));
    }
    let delivered = drain(&mut way);
    let seqs: Vec<u8> = delivered.iter().map(|(_, packet)| packet[31]).collect();
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!((delivered[0].0, delivered[1].0), (millis(110), millis(110)));
    assert!(delivered[2].0 > millis(139) && delivered[2].0 < millis(141));
}

#[test]
fn packets_come_out_of_the_ring_as_they_went_in() {
    let mut flight = Flight::new(20_000);
    let mut random = fastrand::Rng::with_seed(1);
    let (mut sent, mut got, mut refused) = (0_u32, 0_u32, 0);
    let length = |number: u32| 20 + (number as usize * 977) % (MTU - 19);
    let check = |flight: &mut Flight, got: &mut u32| {
        let Some((due, packet)) = flight.first() else { return };
        assert_eq!((due, packet.len()), (Duration::from_nanos((*got).into()), length(*got)));
        assert!(packet.iter().all(|byte| *byte == got.to_le_bytes()[0]));
        flight.pop();
        *got += 1;
    };
    for _ in 0..20_000 {
        // Mostly fuller and fuller, then mostly emptier and emptier.
        if random.u32(..100) < if sent / 500 % 2 == 0 { 60 } else { 40 } {
            match flight.room() {
                Some(room) => {
                    room[..length(sent)].fill(sent.to_le_bytes()[0]);
                    flight.push(length(sent), Duration::from_nanos(sent.into()));
                    sent += 1;
                }
                None => refused += 1,
            }
        } else {
            check(&mut flight, &mut got);
        }
    }
    assert!(refused > 0 && sent > 5000, "{refused} of {sent}");
    while got < sent {
        check(&mut flight, &mut got);
    }
    assert!(flight.first().is_none());
}

#[test]
fn a_ring_has_room_for_what_it_was_made_for() {
    let mut flight = Flight::new(10 * MTU);
    for _ in 0..100 {
        while flight.first().is_some() {
            flight.pop();
        }
        for _ in 0..10 {
            assert!(flight.room().is_some());
            flight.push(MTU, ZERO);
        }
    }
}

#[test]
fn segments_are_read_behind_their_options() {
    let check = |flags, seq, data, kind, end| {
        let read = Segment::read(&packet(flow(), flags, seq, data));
        assert_eq!(read, Some(Segment { flow: flow(), kind, start: seq, end }));
    };
    check(ACK, 1000, 0, Kind::Carries, 1000);
    check(ACK, 1000, 400, Kind::Carries, 1400);
    check(ACK, u32::MAX - 99, 400, Kind::Carries, 300);
    check(SYN, 1000, 0, Kind::Opens, 1001);
    check(SYN | ACK, 1000, 0, Kind::Opens, 1001);
    check(FIN | ACK, 1000, 5, Kind::Ends, 1006);
    check(RST, 1000, 0, Kind::Ends, 1000);
}

#[test]
fn what_is_no_whole_tcp_segment_is_none() {
    let good = packet(flow(), ACK, 1, 10);
    let without = |change: fn(&mut Vec<u8>)| {
        let mut packet = good.clone();
        change(&mut packet);
        Segment::read(&packet)
    };
    assert!(without(|_| {}).is_some());
    assert_eq!(without(|packet| packet[0] = 0x66), None, "IPv6");
    assert_eq!(without(|packet| packet[0] = 0x44), None, "a header too short");
    assert_eq!(without(|packet| packet[9] = 17), None, "UDP");
    assert_eq!(without(|packet| packet[7] = 1), None, "a later fragment");
    assert_eq!(without(|packet| packet[3] += 1), None, "longer than it is");
    assert_eq!(without(|packet| packet[36] = 15 << 4), None, "a data offset behind the end");
    for length in 0..good.len() {
        assert_eq!(Segment::read(&good[..length]), None, "{length}");
    }
}

#[test]
fn a_forged_reset_has_the_flow_the_number_and_both_checksums() {
    let forged = forge_reset(flow(), 0xfedc_ba98);
    let expected = Segment { flow: flow(), kind: Kind::Ends, start: 0xfedc_ba98, end: 0xfedc_ba98 };
    assert_eq!(Segment::read(&forged), Some(expected));
    assert_eq!(forged[33], RST);
    assert_eq!(checksum(&[&forged[..20]]), 0);
    assert_eq!(checksum(&[&forged[12..20], &[0, 6, 0, 20], &forged[20..]]), 0);
    // The example of RFC 1071, 3.
    assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
}

#[test]
fn a_reset_follows_the_last_byte_carried() {
    let mut way = way(slow());
    let last = u32::MAX - 10;
    admit(&mut way, &packet(flow(), SYN, last - 100, 0), ZERO);
    admit(&mut way, &packet(flow(), ACK, last - 99, 99), ZERO);
    admit(&mut way, &packet(flow(), ACK, last, 40), ZERO);
    // A retransmission, and an acknowledgement behind data that the path has lost.
    admit(&mut way, &packet(flow(), ACK, last - 99, 99), ZERO);
    admit(&mut way, &packet(flow(), ACK, last.wrapping_add(500), 0), ZERO);
    way.reset(flow(), ZERO);
    way.reset(flow(), ZERO);
    let delivered = drain(&mut way);
    assert_eq!(delivered.len(), 6);
    assert_eq!(delivered[5].1, forge_reset(flow(), 29));
    assert_eq!(delivered[5].0, delivered[4].0);
    assert_eq!((way.counts(ZERO).resets, way.counts(ZERO).flows), (1, 0));
}

#[test]
fn a_lost_segment_does_not_move_the_number_of_a_reset() {
    let mut way = Way::new(Schedule::new(slow(), vec![(millis(1), Link::read("usual,loss=100%").unwrap())]), 1);
    admit(&mut way, &packet(flow(), ACK, 1000, 100), ZERO);
    admit(&mut way, &packet(flow(), ACK, 1100, 100), millis(1));
    way.reset(flow(), millis(1));
    assert_eq!(drain(&mut way)[1].1, forge_reset(flow(), 1100));
}

#[test]
fn only_flows_in_use_are_reset_every_few_seconds() {
    let mut way = way(Link::read("flaky,loss=0").unwrap());
    let other = flow().reversed();
    let (mut resets, mut at) = (Vec::new(), ZERO);
    while at < Duration::from_secs(600) {
        admit(&mut way, &packet(flow(), SYN | ACK, 1, 0), at);
        if at < millis(100) {
            admit(&mut way, &packet(other, ACK, 1, 0), at);
        }
        if let Some(victim) = way.victim(at) {
            resets.push(at);
            assert!(victim == flow() || at < Duration::from_secs(6));
            way.reset(victim, at);
        }
        drain(&mut way);
        at += millis(50);
    }
    assert!((130..170).contains(&resets.len()), "{}", resets.len());
    assert!(resets.windows(2).all(|pair| (millis(1950)..millis(6100)).contains(&(pair[1] - pair[0]))));
    let mut calm = self::way(slow());
    admit(&mut calm, &packet(flow(), ACK, 1, 0), ZERO);
    assert!((0..10_000).all(|second| calm.victim(Duration::from_secs(second)).is_none()));
}

#[test]
fn flows_live_until_they_end_or_fall_silent() {
    let mut flows = Flows::default();
    let mut carry = |flags, at| {
        flows.carry(&Segment::read(&packet(flow(), flags, 1, 0)).unwrap(), Duration::from_secs(at));
        flows.alive(Duration::from_secs(at))
    };
    assert_eq!((carry(SYN, 0), carry(ACK, 1), carry(FIN | ACK, 2), carry(ACK, 3)), (1, 1, 0, 0));
    assert_eq!((carry(SYN, 4), carry(RST, 5), carry(SYN, 6)), (1, 0, 1));
    assert_eq!((flows.alive(Duration::from_secs(66)), flows.alive(Duration::from_secs(67))), (1, 0));
}

#[test]
fn what_passes_is_counted_and_ipv6_does_not_pass() {
    let mut way = way(slow());
    let data = packet(flow(), ACK, 1, 1194);
    for _ in 0..14 {
        admit(&mut way, &data, ZERO);
    }
    admit(&mut way, &[0x60; 60], ZERO);
    admit(&mut way, &[0x45; 19], ZERO);
    assert_eq!(way.due(millis(109)), None);
    assert_eq!(way.due(millis(110)), Some(&data[..]));
    assert_eq!(way.counts(ZERO), Counts { queued: 11 * 1250, dropped: 3, flows: 1, ..Counts::default() });
    way.undeliverable();
    assert_eq!(drain(&mut way).len(), 10);
    let expected = Counts { packets: 10, bytes: 12_500, lost: 1, dropped: 3, flows: 1, ..Counts::default() };
    assert_eq!(way.counts(millis(200)), expected);
}

#[test]
fn links_are_read_from_their_names_and_properties() {
    let check = |text: &str, expected: &str| {
        assert_eq!(Link::read(text).map_or_else(|error| error.to_string(), |link| link.to_string()), expected);
    };
    check("good", "rtt 60ms, 625 Mbit/s, loss 0.01 %, queue 100ms");
    check("usual", "rtt 200ms, 300 Mbit/s, loss 0.05 %, queue 100ms");
    check("evening", "rtt 250ms, 200 Mbit/s, loss 0.5 %, queue 100ms");
    let flaky = "rtt 200ms, 300 Mbit/s, loss 0.05 %, queue 100ms, loss 10 % for 1s of every 10s, a reset every 4s";
    check("flaky", flaky);
    check("good,loss=0.001,rtt=0.2s,rate=64kbit", "rtt 200ms, 0.064 Mbit/s, loss 0.1 %, queue 100ms");
    check("bad", &LinkError::Profile("bad".into()).to_string());
    check("good,jitter=1ms", &LinkError::Property("jitter".into()).to_string());
    check("good,loss", &LinkError::Property("loss".into()).to_string());
    for value in ["1", "ms", "-1s", "1h", "NaNs", "1e9m"] {
        check(&format!("good,rtt={value}"), &LinkError::Time(value.into()).to_string());
    }
    for value in ["1", "0mbit", "-1mbit", "11gbit", "NaNmbit"] {
        check(&format!("good,rate={value}"), &LinkError::Rate(value.into()).to_string());
    }
    for value in ["1.1", "101%", "-1%", "NaN", "%"] {
        check(&format!("good,loss={value}"), &LinkError::Share(value.into()).to_string());
    }
}

#[test]
fn a_run_is_read_from_its_flags() {
    let read = |text: &str| Options::read(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let plain = read("usual -- ls -- -l").unwrap();
    assert_eq!(plain, Options::of("usual", ["ls", "--", "-l"].map(str::to_owned).to_vec()).unwrap());
    assert_eq!((plain.seed, plain.congestion.name(), plain.congestion.allowed()), (1, "cubic", "reno cubic"));
    let text = "usual --rtt 100ms --rate 50mbit --loss 1% --queue 20ms --seed 7 --congestion bbr --trace t.csv --then \
                2m=evening,loss=2% --then 60s=good -- ls";
    let full = read(text).unwrap();
    let links: Vec<String> = full.schedule.links().map(|(at, link)| format!("{at:?} {link}")).collect();
    assert_eq!(
        links,
        [
            "0ns rtt 100ms, 50 Mbit/s, loss 1 %, queue 20ms",
            "60s rtt 60ms, 625 Mbit/s, loss 0.01 %, queue 100ms",
            "120s rtt 250ms, 200 Mbit/s, loss 2 %, queue 100ms"
        ]
    );
    assert_eq!((full.seed, full.congestion, full.trace), (7, Congestion::Bbr, Some("t.csv".into())));
    let check = |text: &str, expected: OptionsError| assert_eq!(read(text), Err(expected), "{text}");
    check("usual ls", OptionsError::NoCommand);
    check("usual --", OptionsError::NoCommand);
    check("-- ls", OptionsError::NoProfile);
    check("usual ls -- ls", OptionsError::UnknownFlag("ls".into()));
    check("usual --jitter 1 -- ls", OptionsError::UnknownFlag("--jitter".into()));
    check("usual --rtt -- ls", OptionsError::NoValue("--rtt".into()));
    check("usual --seed x -- ls", OptionsError::Seed("x".into()));
    check("usual --congestion vegas -- ls", OptionsError::Congestion("vegas".into()));
    check("usual --then evening -- ls", OptionsError::Then("evening".into()));
    check("usual --then 1s=bad -- ls", LinkError::Profile("bad".into()).into());
    assert!(["rtt", "rate", "loss", "queue", "seed", "then", "trace"].iter().all(|flag| USAGE.contains(flag)));
}
