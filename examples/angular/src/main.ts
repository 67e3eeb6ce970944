// The page: one application without zone.js. What changes on it changes by signals.

import { provideHttpClient, withFetch, withInterceptors } from '@angular/common/http';
import { provideBrowserGlobalErrorListeners, provideZonelessChangeDetection } from '@angular/core';
import { bootstrapApplication } from '@angular/platform-browser';
import { provideRouter, TitleStrategy, withComponentInputBinding } from '@angular/router';

import { App } from './app/app';
import { routes } from './app/app.routes';
import { tokenInterceptor } from './app/shared/services/token.interceptor';
import { PageTitle } from './app/shell/page-title';

bootstrapApplication(App, {
  providers: [
    provideBrowserGlobalErrorListeners(),
    provideZonelessChangeDetection(),
    provideHttpClient(withFetch(), withInterceptors([tokenInterceptor])),
    provideRouter(routes, withComponentInputBinding()),
    { provide: TitleStrategy, useExisting: PageTitle },
  ],
}).catch((error: unknown) => reportError(error));
