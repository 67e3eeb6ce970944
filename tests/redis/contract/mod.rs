//! What every broker must do, written once and run against each: a new broker adds a `Store` and a line of
//! `every_test!`.

mod acks;
mod deletion;
mod erasure;
mod faults;
pub mod harness;
mod history;
mod idempotency;
mod key_value;
mod memory;
mod order;
mod presence;
mod redis_stores;
mod retained;
mod shared_log;
mod subscription;
mod upstream;
mod user_places;
mod users;

/// Runs the whole suite against one store.
macro_rules! contract {
    ($module:ident, $store:ty: $($suite:ident :: { $($test:ident),+ $(,)? })+) => {
        mod $module {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    crate::contract::harness::bounded($crate::contract::$suite::$test::<$store>()).await;
                }
            )+)+
        }
    };
}

/// The tests of rooms and of what is kept beside them, so that no broker leaves one out.
macro_rules! room_tests {
    ($module:ident, $store:ty) => {
        contract! { $module, $store:
            order::{
                events_arrive_in_order_once_and_whole,
                the_answer_is_the_position_of_the_event,
                concurrent_publishers_see_one_order,
                rooms_count_apart,
                times_never_turn_back,
                an_event_above_the_log_is_refused_whole,
                an_event_without_a_log_is_delivered,
                an_announcement_is_in_no_log,
                a_signal_is_delivered_and_in_no_log,
                events_published_together_are_answered_each,
            }
            subscription::{
                the_first_delivery_says_where_the_room_stands,
                subscribing_amid_publishes_leaves_no_hole,
                a_repeated_subscription_starts_again_without_repeating,
                nothing_is_delivered_after_unsubscribing,
                a_new_subscription_continues_where_the_room_stands_now,
            }
            history::{
                the_newest_events_come_without_since,
                what_followed_a_position_comes_oldest_first,
                limits_cut_and_say_so,
                until_ends_the_answer,
                what_was_trimmed_is_not_complete,
                another_epoch_is_not_complete,
                a_position_ahead_of_the_log_is_not_complete,
                events_age,
                a_room_without_log_has_a_position,
                a_room_that_lost_its_log_has_another_epoch,
                history_amid_publishes_has_no_hole,
            }
            retained::{
                nothing_is_kept_without_a_policy,
                the_newest_event_of_the_room_is_kept,
                the_newest_event_of_each_topic_is_kept,
                the_newest_event_of_each_key_is_kept,
                the_oldest_value_goes_when_there_are_too_many,
                a_removing_topic_removes,
            }
            idempotency::{
                a_repeated_publish_is_one_event,
                the_same_key_with_another_event_is_refused,
                keys_of_different_publishers_are_apart,
                a_retry_goes_by_what_was_asked_for,
                keys_of_different_rooms_are_apart,
                publishes_repeated_at_once_are_one_event,
            }
            shared_log::{
                rooms_that_share_a_log_have_one_order,
                a_rooms_history_is_its_part_of_the_log,
                keys_in_a_shared_log_are_a_rooms_own,
            }
            acks::{
                the_highest_ack_of_a_user_is_kept,
                epochs_stand_side_by_side_and_the_oldest_goes,
                what_was_kept_before_is_told,
                many_users_at_once_are_answered_each,
                rooms_say_where_they_stand,
                the_position_before_the_first_event_is_the_logs_own,
                a_room_that_lost_its_log_knows_nothing_of_its_epoch,
                a_notice_is_delivered_and_in_no_log,
            }
            erasure::{
                a_room_that_is_forgotten_begins_anew,
                the_members_of_a_room_that_is_forgotten_hear_what_follows,
            }
            deletion::{
                a_deleted_event_leaves_one_in_its_place,
                a_log_that_has_let_go_of_events_is_no_larger_for_deleted_ones,
                the_value_of_a_deleted_event_is_not_retained,
                a_value_that_has_outlasted_its_event_is_deleted,
                what_an_erased_event_left_is_deleted_as_well,
                a_log_whose_oldest_events_are_deleted_begins_where_it_began,
            }
            key_value::{
                a_value_is_there_until_its_time_is_up,
                a_value_is_taken_once,
                a_name_is_claimed_by_one_who_may_renew_it,
                of_many_who_claim_or_take_at_once_one_succeeds,
                a_value_is_any_bytes,
            }
            presence::{
                a_repeated_join_is_one_member,
                who_leaves_is_gone_once,
                a_list_is_cut_and_says_the_total,
                joins_and_leaves_are_told_where_the_policy_says_so,
                nobody_is_told_where_the_policy_does_not,
                nobody_is_listed_where_presence_is_off,
            }
        }
    };
}

/// The tests of what is kept of users, which an edge leaves to its home: how much that is, too.
macro_rules! user_tests {
    ($module:ident, $store:ty) => {
        contract! { $module, $store:
            acks::{
                what_is_kept_of_a_user_is_bounded,
                what_authors_are_to_be_told_is_left_until_they_were,
            }
            erasure::{
                a_user_that_is_forgotten_has_read_nothing,
                a_record_that_says_nothing_is_not_kept,
            }
            users::{
                a_record_is_replaced_only_by_one_that_knew_it,
                of_many_that_replace_a_record_at_once_one_succeeds,
                a_record_is_there_until_its_time_is_up,
                the_record_of_a_user_that_is_here_does_not_end,
            }
            user_places::{
                the_newest_is_refused_where_a_user_is_full,
                the_oldest_gives_way_where_the_operator_says_so,
                a_lowered_limit_holds_from_the_next_claim,
                of_many_at_once_each_user_has_its_places,
                a_repeated_claim_changes_nothing,
            }
        }
    };
}

/// The tests of idempotency keys in time.
macro_rules! key_tests {
    ($module:ident, $store:ty) => {
        contract! { $module, $store:
            idempotency::{
                a_key_that_comes_again_is_known_anew,
            }
        }
    };
}

/// All.
macro_rules! every_test {
    ($module:ident, $store:ty) => {
        mod $module {
            room_tests!(rooms, $store);
            user_tests!(users, $store);
            key_tests!(keys, $store);
        }
    };
}

every_test!(memory_broker, crate::contract::memory::MemoryStore);
every_test!(redis_alone, crate::contract::redis_stores::Alone);
every_test!(redis_cluster, crate::contract::redis_stores::Clustered);
room_tests!(edge_of_one_pod, crate::contract::upstream::EdgeOfOne);
room_tests!(edge_of_a_fleet, crate::contract::upstream::EdgeOfFleet);
