// Times and names as people read them.

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const NAMES = new Intl.ListFormat('en', { type: 'conjunction' });
const AGO = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export const clock = (time: number): string => CLOCK.format(time);

/** Today the hour, else the day. */
export function shortTime(time: number): string {
  const isToday = new Date(time).toDateString() === new Date().toDateString();
  return (isToday ? CLOCK : DAY).format(time);
}

/** `now`, `4 min. ago`, `3 hr. ago`, and then the day. */
export function ago(time: number): string {
  const passed = Date.now() - time;
  if (passed < MINUTE) return 'now';
  if (passed < HOUR) return AGO.format(-Math.floor(passed / MINUTE), 'minute');
  if (passed < 24 * HOUR) return AGO.format(-Math.floor(passed / HOUR), 'hour');
  return DAY.format(time);
}

/** `Ann`, `Ann and Bob`, `Ann, Bob, and 3 others`. */
export function listed(names: readonly string[]): string {
  const shown = names.length > 3 ? [...names.slice(0, 2), `${names.length - 2} others`] : names;
  return NAMES.format(shown);
}
