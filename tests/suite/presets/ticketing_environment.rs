//! The environment of the system that the preset `ticketing` replaces.

use super::*;
use crate::harness::refused;

fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
    let merged = merge_over(Preset::named("ticketing"), &Flags::new(), &set(variables), None);
    merged.map(|merged| config(merged.settings)).map_err(|error| error.to_string())
}

fn ports(config: &Config) -> [u16; 3] {
    [&config.plain_listen, &config.internal_listen, &config.grpc.listen].map(|binds| binds[0].address.port())
}

fn times(config: &Config) -> [Duration; 3] {
    [config.timeouts.head, config.timeouts.ping, config.timeouts.pong]
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn ticketing_reads_its_documents_variables() {
    // The document's defaults are the preset's.
    let plain = read(&[]).unwrap();
    let printed = read(&[
        ("HTTP_PORT", "3003"),
        ("HTTP_READ_TIMEOUT", "15s"),
        ("HTTP_WRITE_TIMEOUT", "15s"),
        ("GRPC_PORT", "50057"),
        ("WS_PING_INTERVAL", "30s"),
        ("WS_PONG_TIMEOUT", "60s"),
        ("WS_ALLOW_ANONYMOUS", "true"),
        ("REDIS_HOST", "localhost"),
        ("REDIS_PORT", "6379"),
        ("REDIS_PASSWORD", ""),
        ("REDIS_DB", "0"),
        ("REDIS_POOL_SIZE", "100"),
        ("METRICS_ENABLED", "true"),
        ("METRICS_PORT", "9057"),
        ("LOG_LEVEL", "info"),
        ("LOG_FORMAT", "json"),
    ])
    .unwrap();
    assert_eq!(plain.settings, printed.settings);
    assert_eq!(ports(&plain), [3003, 9057, 50057]);
    assert_eq!(times(&plain), [seconds(15), seconds(30), seconds(60)]);
    assert!(
        plain.anonymous
            && plain.public_metrics
            && plain.internal_metrics
            && plain.grpc.open
            && plain.settings.customers.ticketing.service.realtime
    );
    assert_eq!(plain.settings.redis.urls[0].to_string(), "redis://localhost:6379");
    // Each of them counts.
    let other = read(&[
        ("HTTP_PORT", "13003"),
        ("HTTP_READ_TIMEOUT", "5s"),
        ("GRPC_PORT", "15057"),
        ("WS_PING_INTERVAL", "20s"),
        ("WS_PONG_TIMEOUT", "40s"),
        ("WS_ALLOW_ANONYMOUS", "false"),
        ("REDIS_HOST", "redis.example"),
        ("REDIS_PORT", "6380"),
        ("REDIS_PASSWORD", "s3cret"),
        ("REDIS_DB", "3"),
        ("JWT_SECRET", "a-secret-of-thirty-two-bytes-or-more"),
        ("METRICS_ENABLED", "false"),
        ("METRICS_PORT", "19057"),
        ("LOG_LEVEL", "debug"),
        ("LOG_FORMAT", "text"),
    ])
    .unwrap();
    assert_eq!(ports(&other), [13003, 19057, 15057]);
    assert_eq!(times(&other), [seconds(5), seconds(20), seconds(40)]);
    assert!(!other.anonymous && !other.public_metrics && !other.internal_metrics && other.tokens.has_keys());
    let redis = other.redis.unwrap();
    assert_eq!((redis.nodes, redis.database), (vec![("redis.example".to_owned(), 6380)], 3));
    assert_eq!(redis.password.unwrap().reveal(), "s3cret");
    assert_eq!((other.log_level, other.log), (LogLevel::Debug, LogFormat::Text));
    // The secret that the document prints is too short to be one, and that is said without showing it.
    for (name, value, says) in [
        ("JWT_SECRET", "your-jwt-secret", "it has 15 bytes, and HS256 needs at least 32 (RFC 7518 section 3.2)"),
        ("REDIS_DB", "first", "behind the slash there is no number of a database"),
        ("WS_PING_INTERVAL", "30", "it has no unit"),
    ] {
        let error = read(&[(name, value)]).unwrap_err();
        assert!(error.contains(says) && error.contains(&format!("it comes from {name}")), "{error}");
        assert!(!error.contains("your-jwt"), "{error}");
    }
}

#[test]
fn redis_is_found_by_an_address_of_either_family() {
    for (host, node) in [
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("fd00::7", "fd00::7"),
        ("10.0.0.7", "10.0.0.7"),
        ("redis-0.redis.data.svc", "redis-0.redis.data.svc"),
    ] {
        let redis = read(&[("REDIS_HOST", host), ("REDIS_PORT", "6380"), ("REDIS_DB", "2")]).unwrap().redis.unwrap();
        assert_eq!((redis.nodes, redis.database), (vec![(node.to_owned(), 6380)], 2), "{host}");
    }
    let error = read(&[("REDIS_HOST", "redis:6379")]).unwrap_err();
    assert!(error.contains("a host has no colon") && error.contains("it comes from REDIS_HOST"), "{error}");
}

/// Kubernetes makes such variables for services that are called `redis` and `grpc`.
#[test]
fn services_of_the_namespace_say_nothing_of_ports() {
    let links = [("REDIS_PORT", "tcp://10.96.0.5:6380"), ("GRPC_PORT", "tcp://10.96.0.6:9"), ("REDIS_HOST", "redis")];
    let config = read(&links).unwrap();
    assert_eq!(config.redis.as_ref().unwrap().nodes, [("redis".to_owned(), 6379)]);
    assert_eq!(ports(&config), [3003, 9057, 50057]);
}

#[test]
fn a_time_limit_of_0_is_none_where_there_is_always_one() {
    for none in ["0", "0s", "0m0s", "-1s", "-.5h"] {
        let variables = [("HTTP_READ_TIMEOUT", none), ("WS_PING_INTERVAL", none), ("WS_PONG_TIMEOUT", none)];
        assert_eq!(times(&read(&variables).unwrap()), [seconds(15), seconds(30), seconds(60)], "{none}");
    }
}

#[test]
fn a_duration_that_is_out_of_range_here_is_the_nearest_that_is_not() {
    for (name, value, expected) in [
        ("HTTP_READ_TIMEOUT", "100us", [Duration::from_millis(100), seconds(30), seconds(60)]),
        ("HTTP_READ_TIMEOUT", "1.5h", [seconds(600), seconds(30), seconds(60)]),
        ("WS_PING_INTERVAL", "500ms", [seconds(15), seconds(1), seconds(60)]),
        ("WS_PING_INTERVAL", "2h", [seconds(15), seconds(3600), seconds(60)]),
        ("WS_PONG_TIMEOUT", "1h", [seconds(15), seconds(30), seconds(600)]),
    ] {
        let merged = merge_over(Preset::named("ticketing"), &Flags::new(), &set(&[(name, value)]), None).unwrap();
        let warned = |warning: &String| warning.contains(value) && warning.contains(&format!("it comes from {name}"));
        assert!(matches!(merged.warnings.as_slice(), [one] if warned(one)), "{:?}", merged.warnings);
        assert_eq!(times(&config(merged.settings)), expected, "{name}={value}");
    }
    assert_eq!(times(&read(&[("HTTP_READ_TIMEOUT", ".5s")]).unwrap())[0], Duration::from_millis(500));
    // What is no duration is refused, and so is what an operator of ours writes.
    assert!(read(&[("HTTP_READ_TIMEOUT", "15000")]).unwrap_err().contains("it has no unit"));
    let flags = Flags::from([("timeouts.head".to_owned(), "1ms".to_owned())]);
    let short = merge_over(Preset::named("ticketing"), &flags, &set(&[]), None).unwrap_err().to_string();
    assert!(short.contains("it is out of range; allowed: 100ms to 10m"), "{short}");
}

#[test]
fn metrics_at_the_port_of_clients_open_no_second_listener_there() {
    let addresses = |config: &Config| config.internal_listen.iter().map(|bind| bind.address).collect::<Vec<_>>();
    let own = vec!["127.0.0.1:9000".parse().unwrap()];
    let config = read(&[("METRICS_PORT", "3003")]).unwrap();
    assert_eq!((ports(&config), addresses(&config)), ([3003, 9000, 50057], own.clone()));
    assert!(config.public_metrics, "where the old server has them");
    let config = read(&[("HTTP_PORT", "9057")]).unwrap();
    assert_eq!((ports(&config)[0], addresses(&config)), (9057, own));
    // What an operator says is taken at its word, and refused.
    let ours = |key: &str, address: &str| {
        let flags = Flags::from([(key.to_owned(), address.to_owned())]);
        let merged = merge_over(Preset::named("ticketing"), &flags, &set(&[]), None).unwrap();
        refused(|settings| *settings = merged.settings).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(ours("internal_listen", "[::]:9058"), Vec::<String>::new());
    for (key, address, says) in [
        ("internal_listen", "127.0.0.1:3003", "`plain_listen` and `internal_listen` both listen on port 3003"),
        ("grpc.listen", "0.0.0.0:9057", "`internal_listen` and `grpc.listen` both listen on port 9057"),
    ] {
        let errors = ours(key, address);
        assert!(matches!(errors.as_slice(), [one] if one.starts_with(says)), "{errors:?}");
    }
}
