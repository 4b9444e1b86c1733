// Encodes OpenAPI documents in protobuf as the reference does, so that a test can compare: it reads a document in JSON
// and writes the message. The argument is 2 or 3, the document's version.
package main

import (
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"

	v2 "github.com/google/gnostic-models/openapiv2"
	v3 "github.com/google/gnostic-models/openapiv3"
)

func main() {
	message, err := encode(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(message)
}

func encode(version string) ([]byte, error) {
	json, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	var document proto.Message
	if version == "2" {
		document, err = v2.ParseDocument(json)
	} else {
		document, err = v3.ParseDocument(json)
	}
	if err != nil {
		return nil, err
	}
	return proto.Marshal(document)
}
