// Package envoygate answers Envoy's external authorization requests (ext_authz v3) from a
// guard.
//
//   - allow: OK;
//   - deny: PERMISSION_DENIED, for the client 403;
//   - restrict: GET, HEAD and OPTIONS are OK, all else as deny;
//   - throttle: one request in each guard.PaceEvery is OK, for the others RESOURCE_EXHAUSTED,
//     429 with Retry-After.
//
// Envoy asks once, when a request begins. So the next request of who is stopped fails; one
// that is in flight ends when Envoy's own time for it is over.
package envoygate

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// Offered are the kinds of source that Options.Names may have. The principal is
// source.principal, which Envoy takes from the client's verified certificate; claims are
// those that Envoy's JWT filter has verified: claim:jwt.sub where its payload_in_metadata
// is jwt.
func Offered() []gate.Kind {
	return []gate.Kind{gate.FromHeader, gate.FromPrincipal, gate.FromSPIFFE, gate.FromClaim, gate.FromValue}
}

// jwtFilter is the namespace of the metadata in which claims come.
const jwtFilter = "envoy.filters.http.jwt_authn"

// Options say how requests are judged.
type Options struct {
	// Names say whose request it is. A header that the agent itself can write is no identity.
	Names gate.Names
	// Authorize decides by policies what the guard lets through. nil: the guard alone decides.
	Authorize gate.Authorizer
	// Record is told of each request. nil: nobody is.
	Record func(gate.Seen)
}

// Server is an Authorization service.
type Server struct {
	auth.UnimplementedAuthorizationServer
	guard *guard.Guard
	o     Options
}

// New returns a server around a guard.
func New(g *guard.Guard, o Options) (*Server, error) {
	if g == nil {
		return nil, errors.New("cannot make Envoy gate: no guard")
	}
	return &Server{guard: g, o: o}, o.Names.Check(Offered()...)
}

// Check answers for one request. It never fails: what it cannot read it denies.
func (s *Server) Check(_ context.Context, req *auth.CheckRequest) (*auth.CheckResponse, error) {
	start := time.Now()
	r := req.GetAttributes().GetRequest().GetHttp()
	call, err := s.identify(req)
	if err != nil {
		return refuse(gate.Unidentified(s.guard, err)), nil
	}
	a := s.o.Authorize.Decide(s.guard, s.guard.Check(&call), gate.Request{
		Call: call, Time: start, Reads: gate.Reads(r.GetMethod()), Gate: "envoy",
	})
	if s.o.Record != nil {
		seen := gate.Seen{Call: call, Time: start, Kind: "envoy", Traceparent: r.GetHeaders()["traceparent"], BytesIn: max(r.GetSize(), 0), Revocation: a.Revocation}
		seen.Refused(a)
		s.o.Record(seen)
	}
	if !a.Allowed {
		return refuse(a), nil
	}
	return allow(call, a), nil
}

func (s *Server) identify(req *auth.CheckRequest) (guard.Call, error) {
	attributes := req.GetAttributes()
	r := attributes.GetRequest().GetHttp()
	if r.GetMethod() == "" || r.GetPath() == "" {
		return guard.Call{}, errors.New("no HTTP request; this gate is for Envoy's HTTP filter")
	}
	call, err := s.o.Names.Call(gate.Facts{
		Header:    header(r),
		Principal: attributes.GetSource().GetPrincipal(),
		Claims:    attributes.GetMetadataContext().GetFilterMetadata()[jwtFilter].AsMap(),
	})
	if err != nil {
		return call, err
	}
	call.Resource, _, _ = strings.Cut(r.GetPath(), "?")
	call.Action = r.GetMethod()
	if strings.HasPrefix(r.GetHeaders()["content-type"], "application/grpc") {
		// As grpcgate has it: the service and its method.
		if service, method, ok := strings.Cut(strings.TrimPrefix(call.Resource, "/"), "/"); ok {
			call.Resource, call.Action = service, method
		}
	}
	return call, nil
}

// header looks headers up where Envoy puts them: in a map with the values of one name joined
// by commas, or, with encode_raw_headers, in a list.
func header(r *auth.AttributeContext_HttpRequest) func(string) []string {
	return func(name string) []string {
		var values []string
		if v, ok := r.GetHeaders()[strings.ToLower(name)]; ok {
			values = append(values, v)
		}
		for _, h := range r.GetHeaderMap().GetHeaders() {
			if strings.EqualFold(h.GetKey(), name) {
				if v := h.GetValue(); v != "" {
					values = append(values, v)
				} else {
					values = append(values, string(h.GetRawValue()))
				}
			}
		}
		return values
	}
}

// allow lets a request through. Its metadata is for Envoy's access log and later filters.
func allow(call guard.Call, a gate.Answer) *auth.CheckResponse {
	return &auth.CheckResponse{
		Status:          &status.Status{Code: int32(codes.OK)},
		DynamicMetadata: metadata(a, map[string]string{"tenant": call.Tenant, "agent": call.Agent}),
		HttpResponse:    &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}},
	}
}

func refuse(a gate.Answer) *auth.CheckResponse {
	code, httpCode := codes.PermissionDenied, envoytype.StatusCode_Forbidden
	headers := []*core.HeaderValueOption{
		set("Content-Type", "application/json"),
		set("Cache-Control", "no-store"), // a cached verdict would outlive its revocation
		set("X-Estop-Verdict", a.Verdict.String()),
		set("X-Estop-Reason", gate.Header(a.Reason)),
	}
	if a.Revocation != "" {
		headers = append(headers, set("X-Estop-Revocation", gate.Header(a.Revocation)))
	}
	if len(a.Policies) > 0 {
		headers = append(headers, set("X-Estop-Policy", gate.Header(strings.Join(a.Policies, ", "))))
	}
	if a.RetryAfter > 0 {
		code, httpCode = codes.ResourceExhausted, envoytype.StatusCode_TooManyRequests
		headers = append(headers, set("Retry-After", strconv.Itoa(int(a.RetryAfter/time.Second))))
	}
	return &auth.CheckResponse{
		Status:          &status.Status{Code: int32(code), Message: strings.ToValidUTF8(a.Reason, "?")},
		DynamicMetadata: metadata(a, nil),
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status: &envoytype.HttpStatus{Code: httpCode}, Headers: headers, Body: string(gate.Body(a)),
		}},
	}
}

func set(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: http.CanonicalHeaderKey(name), Value: value},
		AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// metadata is what Envoy puts under envoy.filters.http.ext_authz.
func metadata(a gate.Answer, more map[string]string) *structpb.Struct {
	fields := map[string]*structpb.Value{"verdict": structpb.NewStringValue(a.Verdict.String())}
	add := func(name, value string) {
		if value != "" {
			fields[name] = structpb.NewStringValue(strings.ToValidUTF8(value, "?"))
		}
	}
	add("code", a.Code)
	add("reason", a.Reason)
	add("revocation", a.Revocation)
	for name, value := range more {
		add(name, value)
	}
	return &structpb.Struct{Fields: fields}
}
