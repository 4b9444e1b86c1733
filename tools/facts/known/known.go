// Package known has the API types whose facts are written.
package known

import (
	admission "k8s.io/api/admission/v1"
	admissionbeta "k8s.io/api/admission/v1beta1"
	discovery "k8s.io/api/apidiscovery/v2"
	discoverybeta "k8s.io/api/apidiscovery/v2beta1"
	imagepolicy "k8s.io/api/imagepolicy/v1alpha1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// Types are all kinds.
func Types() (*runtime.Scheme, error) {
	types := scheme.Scheme
	for _, add := range []func(*runtime.Scheme) error{
		admission.AddToScheme, admissionbeta.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme,
		discovery.AddToScheme, discoverybeta.AddToScheme, imagepolicy.AddToScheme, meta.AddMetaToScheme,
	} {
		if err := add(types); err != nil {
			return nil, err
		}
	}
	return types, nil
}
