// The screens, each loaded when it is first wanted.

import type { Routes } from '@angular/router';

export const routes: Routes = [
  { path: '', pathMatch: 'full', redirectTo: 'messages' },
  {
    path: 'messages',
    title: 'Messages',
    loadComponent: async () => (await import('./pages/messages/messages')).Messages,
    children: [
      {
        path: ':id',
        loadComponent: async () => (await import('./pages/messages/conversation-view')).ConversationView,
      },
    ],
  },
  {
    path: 'notifications',
    title: 'Notifications',
    loadComponent: async () => (await import('./pages/notifications/notifications')).Notifications,
  },
  { path: 'feed', title: 'Feed', loadComponent: async () => (await import('./pages/feed/feed')).Feed },
  {
    path: 'settings',
    title: 'Settings',
    loadComponent: async () => (await import('./pages/settings/settings')).Settings,
  },
  { path: '**', redirectTo: 'messages' },
];
