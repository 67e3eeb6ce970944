//! Plain answers: does the pod take clients, and what do proxies make of HTTP, of clocks and of compression?

use std::{
    io::Read,
    time::{Duration, Instant, SystemTime},
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::{
    exchange::{HttpAnswer, exchange},
    finding::Findings,
    target::DoctorTarget,
};

/// Clocks that differ by less do not matter: `Date` has no fractions, and tokens are allowed more.
const CLOCKS: Duration = Duration::from_secs(3);

/// Clocks that differ by more make tokens expire early, or not at all.
const CLOCKS_MOST: Duration = Duration::from_secs(30);

/// The most of a page that is looked at.
const MOST_INFLATED: u64 = 1024 * 1024;

async fn get(target: &DoctorTarget, path: &str, more: &str) -> Result<HttpAnswer, String> {
    let mut line = target.connect().await.map_err(|error| error.to_string())?;
    exchange(&mut line, &format!("{}{more}Connection: close\r\n\r\n", target.request(path))).await
}

/// `/accepting`, and what stands in its head. `false`: there is no HTTP here.
pub(super) async fn check_http(target: &DoctorTarget, findings: &mut Findings) -> bool {
    let began = Instant::now();
    let answer = match get(target, "/accepting", "Accept-Encoding: gzip\r\n").await {
        Ok(answer) => answer,
        Err(why) => {
            findings.fail("http", why, "look whether the port leads to a public listener of a pod");
            return false;
        }
    };
    if answer.minor == 0 {
        findings.fail(
            "http",
            "the answer is HTTP/1.0, which has no upgrades and no streams",
            "let the proxy speak HTTP/1.1 to the pod and to clients (nginx: proxy_http_version 1.1)",
        );
    }
    accepting(&answer, findings);
    clock(&answer, began.elapsed(), findings);
    true
}

fn accepting(answer: &HttpAnswer, findings: &mut Findings) {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reason = said["reason"].as_str().map(|reason| format!(", {reason}")).unwrap_or_default();
    match (answer.status, said["status"].as_str()) {
        (200, Some("ready")) => findings.ok("accepting", "the pod takes clients"),
        (200, Some("degraded")) if said["reason"] == "upstream" => {
            let change =
                "ask the pod why: `roomcast doctor URL --status http://POD:9000`, or /status of its internal listener";
            let says = "the pod takes clients, and its links to its home are down: they get nothing new, and publishes are refused";
            findings.warn("accepting", says, change);
        }
        (200, Some(word)) => {
            let change = "look at the pod: `roomcast stats`, or /status of its internal listener";
            findings.warn("accepting", format!("the pod takes clients, and is {word}{reason}"), change);
        }
        (503, Some(word)) => {
            let change = "look at the pod (`roomcast stats`), and why the balancer still sends clients to it: its health check asks /accepting";
            findings.fail("accepting", format!("the pod takes no clients: {word}{reason}"), change);
        }
        // A pod's own words.
        (404, _) if answer.sentence() == "there is nothing here" => {
            findings.ok(
                "accepting",
                "a pod answers; it does not say here whether it takes clients (`public_health` is off)",
            );
        }
        (404, _) => {
            let change = "let the proxy pass this path on, and / too: this is not a pod's answer";
            findings.warn("accepting", "there is no /accepting here", change);
        }
        (status, _) => {
            let change = "look at what lies between: this is not a pod's answer";
            findings.fail("accepting", format!("the answer is {status}: {}", answer.sentence()), change);
        }
    }
}

fn clock(answer: &HttpAnswer, took: Duration, findings: &mut Findings) {
    let Some(there) = answer.header("date").and_then(http_date) else {
        let change = "let the proxy pass `Date` on, or set it";
        return findings.warn("clock", "the answer has no `Date`, so that clocks cannot be compared", change);
    };
    let here = SystemTime::now();
    // The date was cut to a second, and the answer was on its way.
    let (apart, word) = match here.duration_since(there) {
        Ok(behind) => (behind.saturating_sub(took + Duration::from_secs(1)), "behind"),
        Err(ahead) => (ahead.duration(), "ahead of"),
    };
    let says = format!("the server's clock is {:.0} s {word} this machine's", apart.as_secs_f64());
    let change = "run NTP on both: tokens expire early, or late, by as much";
    if apart <= CLOCKS {
        findings.ok("clock", "the server's clock and this machine's agree");
    } else if apart <= CLOCKS_MOST {
        findings.warn("clock", says, change);
    } else {
        findings.fail("clock", says, change);
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
fn http_date(text: &str) -> Option<SystemTime> {
    let words: Vec<&str> = text.split([' ', ',', ':']).filter(|word| !word.is_empty()).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = words[..] else { return None };
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = u8::try_from(MONTHS.iter().position(|name| *name == month)? + 1).ok()?;
    let date =
        time::Date::from_calendar_date(year.parse().ok()?, time::Month::try_from(month).ok()?, day.parse().ok()?);
    let time = time::Time::from_hms(hour.parse().ok()?, minute.parse().ok()?, second.parse().ok()?).ok()?;
    Some(time::PrimitiveDateTime::new(date.ok()?, time).assume_utc().into())
}

/// What a proxy makes of bodies and of other transports.
pub(super) async fn check_proxy(target: &DoctorTarget, findings: &mut Findings) {
    let Ok(page) = get(target, "/", "Accept-Encoding: gzip\r\n").await else { return };
    if is_compressed_twice(&page) {
        findings.fail(
            "gzip",
            "what the pod has compressed is compressed again",
            "switch compression off in the proxy for this host (nginx: gzip off): the pod compresses what is worth it",
        );
    }
    if let Some(alternative) = page.header("alt-svc") {
        findings.warn(
            "alt-svc",
            format!("something between offers clients another way: {alternative}"),
            "look whether it leads to a pod: browsers take it for polls and event streams; the pod itself offers none",
        );
    }
}

fn is_compressed_twice(answer: &HttpAnswer) -> bool {
    let codings: Vec<&str> = answer.lines("content-encoding").flat_map(|line| line.split(',')).map(str::trim).collect();
    if codings.len() > 1 {
        return true;
    }
    if codings != ["gzip"] {
        return false;
    }
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(&answer.body[..]).take(MOST_INFLATED).read_to_end(&mut plain);
    read.is_ok() && plain.starts_with(&[0x1f, 0x8b])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{io::Write, time::UNIX_EPOCH};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn dates_are_read_as_http_writes_them() {
        let at = |text| http_date(text).map(|at| at.duration_since(UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for bad in ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37"]
        {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_clock_is_judged_by_what_the_date_can_say() {
        let judged = |seconds: i64| {
            let then = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
            let (month, (hour, minute, second)) = (then.month().to_string(), then.to_hms());
            let (day, month, year) = (then.day(), &month[..3], then.year());
            let date = format!("Sun, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT");
            let mut findings = Findings::default();
            let answer = HttpAnswer::with("date", &date, Vec::new());
            clock(&answer, Duration::ZERO, &mut findings);
            findings.text().split(' ').next().unwrap().to_owned()
        };
        assert_eq!(
            (judged(0), judged(10), judged(-10), judged(-300)),
            ("ok".into(), "warning".into(), "warning".into(), "FAILED".into())
        );
    }

    #[test]
    fn compression_twice_is_seen_by_its_head_or_its_bytes() {
        let gzip = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let once = gzip(b"<!doctype html>");
        for (coding, body, twice) in [
            ("gzip", once.clone(), false),
            ("gzip", gzip(&once), true),
            ("gzip, gzip", gzip(&once), true),
            ("br", once.clone(), false),
            ("gzip", b"broken".to_vec(), false),
        ] {
            assert_eq!(is_compressed_twice(&HttpAnswer::with("content-encoding", coding, body)), twice, "{coding}");
        }
    }
}
