import {
  CoreApp,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceInstanceSettings,
  LiveChannelScope,
  ScopedVars,
  StandardVariableQuery,
  StandardVariableSupport,
} from '@grafana/data';
import { DataSourceWithBackend, getBackendSrv, getGrafanaLiveSrv, getTemplateSrv, StreamingFrameAction } from '@grafana/runtime';
import { lastValueFrom, merge, Observable } from 'rxjs';

import { interpolate } from './template';
import { channels, defaultQuery, EstopOptions, EstopQuery, Order, Outcome, Preview, Target } from './types';

/** Rows of a live table that stay on the screen. */
const liveRows = 500;

export class DataSource extends DataSourceWithBackend<EstopQuery, EstopOptions> {
  constructor(settings: DataSourceInstanceSettings<EstopOptions>) {
    super(settings);
    this.annotations = {};
    this.variables = new NamesOf();
  }

  getDefaultQuery(_: CoreApp): Partial<EstopQuery> {
    return defaultQuery;
  }

  filterQuery(query: EstopQuery): boolean {
    return Boolean(query.kind) && !query.hide;
  }

  applyTemplateVariables(query: EstopQuery, scoped: ScopedVars): EstopQuery {
    return interpolate(getTemplateSrv(), query, scoped);
  }

  query(request: DataQueryRequest<EstopQuery>): Observable<DataQueryResponse> {
    const live = request.targets.filter((t) => t.format === 'live' && channels[t.kind] && !t.hide);
    const asked = request.targets.filter((t) => t.format !== 'live');
    const streams = live.map((t) => this.follow(t));
    return asked.length > 0 || live.length === 0
      ? merge(super.query({ ...request, targets: asked }), ...streams)
      : merge(...streams);
  }

  private follow(query: EstopQuery): Observable<DataQueryResponse> {
    return getGrafanaLiveSrv().getDataStream({
      key: `${this.uid}/${query.refId}`,
      addr: { scope: LiveChannelScope.DataSource, stream: this.uid, path: channels[query.kind] },
      buffer: { maxLength: liveRows, action: StreamingFrameAction.Append },
    });
  }

  preview(target: Target): Promise<Preview> {
    return this.act('preview', target);
  }

  kill(order: Order): Promise<Outcome> {
    return this.act('kill', order);
  }

  release(order: Order): Promise<Outcome> {
    return this.act('release', order);
  }

  approve(id: string, reason: string): Promise<Outcome> {
    return this.act('approve', { id, reason });
  }

  dismiss(id: string, reason: string): Promise<Outcome> {
    return this.act('dismiss', { id, reason });
  }

  /** The header is what a page of another site cannot send. */
  private async act<T>(path: string, data: unknown): Promise<T> {
    const response = await lastValueFrom(
      getBackendSrv().fetch<T>({
        url: `/api/datasources/uid/${encodeURIComponent(this.uid)}/resources/${path}`,
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-Estop-Act': '1' },
        data,
        showErrorAlert: false,
      })
    );
    return response.data;
  }
}

/** A variable's query is the kind of names that it takes: tenants, agents or detectors. */
class NamesOf extends StandardVariableSupport<DataSource> {
  toDataQuery(query: StandardVariableQuery): EstopQuery {
    return { refId: query.refId ?? 'names', kind: query.query, format: 'table' };
  }
}
