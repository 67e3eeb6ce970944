//! What the metrics of a pod say, once each.
//!
//! Always holds: `docs/OPERATIONS.md` names the same ones; a test compares them.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What each metric says: `docs/OPERATIONS.md` is checked against it.
pub const DESCRIPTIONS: &[(&str, &str)] = &[
    ("roomcast_connections", "Open connections, by transport and dialect."),
    ("roomcast_worker_connections", "Open connections of each worker."),
    ("roomcast_worker_cpu_seconds_total", "CPU time of each worker's thread."),
    ("roomcast_worker_deliveries_total", "Events times receivers that each worker wrote."),
    ("roomcast_rooms", "Rooms with a member on this pod."),
    ("roomcast_events_in_total", "Events published on this pod, by source: api (backends), client."),
    (
        "roomcast_events_deleted_total",
        "Events that were deleted on this pod, by backends, by the clients of their authors, or with their users.",
    ),
    ("roomcast_batches_total", "Batches that left their room's sequencer."),
    ("roomcast_batch_events", "Events in a batch."),
    (
        "roomcast_batch_wait_seconds",
        "From a batch's first event reaching the pod until the batch left its room's sequencer.",
    ),
    ("roomcast_deliveries_total", "Events times receivers."),
    ("roomcast_frames_total", "Frames times receivers."),
    (
        "roomcast_sent_bytes_total",
        "Bytes of frames times receivers, plain before and framed after compression, below TLS.",
    ),
    ("roomcast_encoded_bytes_total", "Bytes of frames, each once, plain before and framed after compression."),
    ("roomcast_windows", "Windows of busy rooms, to which compressed frames refer."),
    ("roomcast_window_bytes", "Bytes that the windows of rooms hold, against compression.windows."),
    (
        "roomcast_window_frames_total",
        "Frames of rooms with a window times receivers, by kind: chained (to earlier frames), keyframe, independent (for those that cannot read a chained one).",
    ),
    (
        "roomcast_window_keyframes_total",
        "Keyframes of rooms with a window, each once, by reason: begin, waiting (receivers that a keyframe brings in), incompressible (what was before went out uncompressed).",
    ),
    (
        "roomcast_window_saved_bytes_total",
        "Bytes that chained frames were smaller than independent ones, times receivers; estimated from the newest keyframe.",
    ),
    (
        "roomcast_publish_to_write_seconds",
        "From a batch's first event reaching the pod to the last write of the batch on a worker, batch window included.",
    ),
    ("roomcast_fan_out_seconds", "How long a fan-out took on a worker, its pauses for others included."),
    (
        "roomcast_dropped_frames_total",
        "Frames that slow connections lost, each told by a gap, and frames of events in no log that a full queue of the pod lost.",
    ),
    (
        "roomcast_stream_holes_total",
        "Holes between a room's sequencer and a worker, filled from history or told as a gap.",
    ),
    (
        "roomcast_recoveries_total",
        "Subscriptions with a position or an event's id, by outcome: recovered exactly, or gone.",
    ),
    (
        "roomcast_acks_total",
        "What users have read in rooms since the last write, by outcome: kept, failed (tried again), lost.",
    ),
    (
        "roomcast_user_places_total",
        "Connections and limits.user_connections, by outcome: taken, refused, displaced (by a newer one), untold (displaced on another pod, which could not be told), alone (judged by this pod's own connections), uncounted.",
    ),
    (
        "roomcast_receipts_total",
        "Receipts, by outcome: told to authors, later (the broker did not take them now, or too many waited), lost (there were too many at once).",
    ),
    (
        "roomcast_untold_acks_total",
        "Acks that were kept and not told to authors, because their pod died or could not: taken up by this one.",
    ),
    (
        "roomcast_signals_total",
        "Signals, by outcome: sent (to the broker), thinned, limited (above the rate of a connection, a room or a worker), lost; expired (on each pod of receivers).",
    ),
    ("roomcast_user_presence_announced_total", "What followers were told of users, by status."),
    (
        "roomcast_user_presence_total",
        "Presence of users, by outcome: returned (before it counted as gone), limited (above a user's rate), refused (by the room), failed (the broker did not answer; tried again).",
    ),
    ("roomcast_user_presence_users", "Users of this pod, those that went a moment ago included."),
    ("roomcast_user_presence_waiting", "Records of users that wait to be looked at or told."),
    ("roomcast_grpc_calls_total", "Calls over gRPC by method and result."),
    (
        "roomcast_handshakes_total",
        "Handshakes by stage (accept, proxy, tls, head, quic, then upgrade, poll, sse, send or ask) and result; of a refusal by capacity full (the pod), address (a client address) or draining.",
    ),
    (
        "roomcast_quic_strays_total",
        "QUIC packets for connections that the pod does not have: reset, living (another pod has them), unknown, limited.",
    ),
    ("roomcast_disconnects_total", "Ends of connections by close code; none: the socket went without one."),
    (
        "roomcast_held_bytes",
        "Bytes that queues (each shared frame once), bodies, answers and sockets without a connection really hold, against memory_budget.",
    ),
    ("roomcast_owed_bytes", "Bytes that queues owe, each frame once for every connection that waits for it."),
    ("roomcast_messages_in_total", "Messages of clients."),
    ("roomcast_accept_errors_total", "Failed accept calls."),
    (
        "roomcast_degraded",
        "1 for each reason for which the pod is not as it should be: draining, connections, memory, files, redis, upstream.",
    ),
    (
        "roomcast_limit",
        "What each limit that refuses clients is: files, waiting_sockets, connections, memory, process_memory, quic_handshakes.",
    ),
    ("roomcast_limit_used", "How much of each limit is used."),
    (
        "roomcast_limit_refused_total",
        "What each limit refused, or ended for others: files, waiting_sockets, connections, memory, process_memory, addresses, unused_sessions, user_connections, quic_handshakes, accept.",
    ),
    (
        "roomcast_slow_sockets_total",
        "Sockets of the public listeners that were ended, by the clock that ran out: head (handshakes too), body, idle, write.",
    ),
    (
        "roomcast_internal_refused_total",
        "Connections to the internal listener that were refused, because there were as many as may be.",
    ),
    (
        "roomcast_certificate_expires_seconds",
        "Seconds until the certificate expires (of several the one that does first), below 0 once it has; 0, as its age, where there is none.",
    ),
    ("roomcast_certificate_age_seconds", "Seconds since the certificate became valid."),
    (
        "roomcast_certificate_broken",
        "1 while the certificate's newest file is unusable and the one before it is served.",
    ),
    (
        "roomcast_ticket_keys_broken",
        "1 while the files of `tls.ticket_keys` are unusable and the keys before them stay in use.",
    ),
    (
        "roomcast_configuration_broken",
        "1 while the configuration, read again, is unusable and the one before it stays in use.",
    ),
    (
        "roomcast_token_keys_broken",
        "1 while the files of `tokens.public_keys` or `tokens.jwks_file` are unusable and the keys before them stay in use.",
    ),
    ("roomcast_tokens_total", "Clients' tokens by result: accepted, expired, refused, outage."),
    (
        "roomcast_token_faulty_objects_total",
        "Tokens whose client was let in although what is kept under them could be used only in part.",
    ),
    (
        "roomcast_jwks_age_seconds",
        "Seconds since the key set in use was fetched; while it never was, since it was first asked for.",
    ),
    ("roomcast_jwks_failures_total", "Fetches of the key set that failed."),
    ("roomcast_build_info", "1, with the version and the allocator."),
];

/// What each metric of a pod with Redis says, besides [`DESCRIPTIONS`].
pub const REDIS_DESCRIPTIONS: &[(&str, &str)] = &[
    ("roomcast_redis_subscriptions", "Channels wanted in Redis, by state: confirmed, unconfirmed."),
    ("roomcast_redis_reconnects_total", "Connections for subscriptions that ended or could not be made."),
    (
        "roomcast_redis_canary_age_seconds",
        "Since a message that the pod publishes to itself every 2 s came back, the oldest over all masters.",
    ),
    (
        "roomcast_redis_topology_changes_total",
        "Times that slots of the cluster had another owner, or the master was another.",
    ),
    ("roomcast_redis_messages_total", "Messages that came over subscriptions in Redis."),
    (
        "roomcast_redis_commands_total",
        "Commands to Redis by script and result: ok, error (refused or not reachable), timeout (outcome unknown).",
    ),
    ("roomcast_redis_command_seconds", "How long commands to Redis took, their retries included."),
    (
        "roomcast_redis_degraded",
        "1 while a master cannot be reached or refuses something, or a subscription's canary does not come back.",
    ),
    (
        "roomcast_redis_trouble",
        "1 for each reason why Redis cannot be used, or not all of it: away, login, deaf, full, read_only, disk, replicas, \
         loading, busy, cluster, rights.",
    ),
    (
        "roomcast_redis_rooms_behind_total",
        "Rooms whose log was ahead of what had come without anything else showing it; each was recovered.",
    ),
    ("roomcast_redis_unreadable_total", "Messages and answers of Redis that this build cannot read."),
    ("roomcast_redis_presence_resyncs_total", "Rooms whose members of this pod were written to Redis anew."),
    (
        "roomcast_legacy_messages_total",
        "Plain messages that this pod heard, by result: published, passed (delivered without a log), unfit, failed, ignored (another pod's to take in).",
    ),
    (
        "roomcast_legacy_lease",
        "1 on the pod that takes plain messages in. Over all pods of a fleet it is 1, save for a moment.",
    ),
];

/// Gauges that are called like counters.
const GAUGES: [&str; 1] = ["roomcast_worker_cpu_seconds_total"];

/// Says what each metric is, by its name. The recorder that is current keeps it.
pub(crate) fn describe(descriptions: &'static [(&str, &str)]) {
    for (name, says) in descriptions {
        let unit = if name.contains("_seconds") {
            Unit::Seconds
        } else if name.contains("_bytes") {
            Unit::Bytes
        } else {
            Unit::Count
        };
        match *name {
            "roomcast_batch_events"
            | "roomcast_redis_command_seconds"
            | "roomcast_hook_seconds"
            | "roomcast_batch_wait_seconds"
            | "roomcast_publish_to_write_seconds"
            | "roomcast_fan_out_seconds"
            | "roomcast_upstream_lag_seconds" => describe_histogram!(*name, unit, *says),
            name if name.ends_with("_total") && !GAUGES.contains(&name) => {
                describe_counter!(name, unit, *says);
            }
            name => describe_gauge!(name, unit, *says),
        }
    }
}
