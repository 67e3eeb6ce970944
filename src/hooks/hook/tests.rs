#![allow(clippy::unwrap_used)]

use super::*;
use crate::{config::HookSettings, hooks::Hooks, metrics::HookMetrics};

#[test]
fn a_backend_that_fails_among_answers_is_two_lines_of_the_log() {
    let url = HookUrl::parse("http://127.0.0.1:9/").unwrap();
    let settings = HookSettings { connect: Some(url), ..HookSettings::default() };
    let hooks = Hooks::new(&settings, HookMetrics::default).unwrap().unwrap();
    let (hook, file) = (hooks.connect.as_ref().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let log = Arc::new(file.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log).finish();
    let (began, failure) = (Instant::now(), HookError::Status(StatusCode::SERVICE_UNAVAILABLE));
    let after = |seconds| began + Duration::from_secs(seconds);
    tracing::subscriber::with_default(subscriber, || {
        for second in 1..100 {
            hook.note(None, after(second));
            hook.note(Some(&failure), after(second));
        }
        assert_eq!(hooks.failing(), ["connect"]);
        for second in 100..200 {
            hook.note(None, after(second));
        }
    });
    assert!(hooks.failing().is_empty());
    let said = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains(" WARN ") && lines[0].contains("the backend does not decide"), "{said}");
    assert!(lines[1].contains(" INFO ") && lines[1].contains("the backend answers again"), "{said}");
    assert!(lines[1].contains("seconds=98.0 failures=99"), "{said}");
}
