// Shows desktop notifications for the page, and tells it which of their buttons was pressed.

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('notificationclick', (event) => {
  const { notification, action } = event;
  notification.close();
  event.waitUntil(tell(action || 'open', notification.data));
});

async function tell(action, { id, url }) {
  const pages = await clients.matchAll({ type: 'window', includeUncontrolled: true });
  if (!pages[0]) return action === 'open' ? clients.openWindow(url) : undefined;
  for (const page of pages) page.postMessage({ action, id, url });
  // Allowed after a click only; what was asked for is done nevertheless.
  if (action === 'open') await pages[0].focus().catch(() => {});
}
