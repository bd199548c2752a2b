import { formats, ofKind } from './QueryEditor';

describe('the query editor', () => {
  it('offers each kind the formats that it has', () => {
    expect(formats('detections')).toEqual(['table', 'timeseries', 'live']);
    expect(formats('stopped_now')).toEqual(['table']);
  });

  it('drops what another kind does not have', () => {
    const query = { refId: 'A', kind: 'detections', format: 'live' as const, filters: { agent: ['bot'], severity: ['high'] } };
    expect(ofKind(query, 'calls')).toMatchObject({ kind: 'calls', format: 'table', filters: { agent: ['bot'] } });
    expect(ofKind(query, 'calls').filters).not.toHaveProperty('severity');
  });
});
