package telemetry

func decodeProto(raw []byte, c *Call, s *scanner) (reason, detail string) {
	return ReasonBadProtobuf, ""
}
