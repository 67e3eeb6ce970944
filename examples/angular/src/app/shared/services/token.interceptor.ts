// Presents the user's token with each request to the backend.

import type { HttpInterceptorFn } from '@angular/common/http';
import { inject } from '@angular/core';

import { SessionService } from './session.service';

export const tokenInterceptor: HttpInterceptorFn = (request, next) => {
  const { token } = inject(SessionService);
  if (!token || !request.url.startsWith('/api/')) return next(request);
  return next(request.clone({ setHeaders: { Authorization: `Bearer ${token}` } }));
};
