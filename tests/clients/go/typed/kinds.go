package main

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"time"
)

const namespace = "default"

// kinds are the tests of all kinds.
func kinds(c *clients) []test {
	p, j := c.protobuf, c.json
	return []test{
		of(c, p.CoreV1().ConfigMaps(namespace), j.CoreV1().ConfigMaps(namespace), &corev1.ConfigMap{
			ObjectMeta: meta("settings"), Data: map[string]string{"a": "b", "empty": ""}, BinaryData: map[string][]byte{"bytes": {0, 1, 255}},
		}),
		of(c, p.CoreV1().Secrets(namespace), j.CoreV1().Secrets(namespace), &corev1.Secret{
			ObjectMeta: meta("password"), Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"key": []byte("value")},
		}),
		of(c, p.CoreV1().Pods(namespace), j.CoreV1().Pods(namespace), &corev1.Pod{ObjectMeta: meta("web"), Spec: podSpec(corev1.RestartPolicyAlways)}),
		of(c, p.CoreV1().PodTemplates(namespace), j.CoreV1().PodTemplates(namespace), &corev1.PodTemplate{ObjectMeta: meta("template"), Template: template(corev1.RestartPolicyAlways)}),
		of(c, p.CoreV1().ReplicationControllers(namespace), j.CoreV1().ReplicationControllers(namespace), &corev1.ReplicationController{
			ObjectMeta: meta("old"), Spec: corev1.ReplicationControllerSpec{Replicas: pointer(int32(2)), Selector: labels(), Template: pointer(template(corev1.RestartPolicyAlways))},
		}),
		of(c, p.CoreV1().Services(namespace), j.CoreV1().Services(namespace), &corev1.Service{
			ObjectMeta: meta("shop"),
			Spec: corev1.ServiceSpec{Selector: labels(), Type: corev1.ServiceTypeNodePort, SessionAffinity: corev1.ServiceAffinityClientIP, Ports: []corev1.ServicePort{
				{Name: "http", Port: 80, TargetPort: intstr.FromString("http"), Protocol: corev1.ProtocolTCP},
				{Name: "dns", Port: 53, TargetPort: intstr.FromInt32(5353), Protocol: corev1.ProtocolUDP},
			}},
		}),
		of(c, p.CoreV1().ServiceAccounts(namespace), j.CoreV1().ServiceAccounts(namespace), &corev1.ServiceAccount{
			ObjectMeta: meta("robot"), AutomountServiceAccountToken: pointer(false), ImagePullSecrets: []corev1.LocalObjectReference{{Name: "password"}},
		}),
		of(c, p.CoreV1().PersistentVolumes(), j.CoreV1().PersistentVolumes(), &corev1.PersistentVolume{
			ObjectMeta: meta("disk"),
			Spec: corev1.PersistentVolumeSpec{
				Capacity: storage("10Gi"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: "fast",
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
				PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "disks.example.com", VolumeHandle: "one", FSType: "ext4"}},
			},
		}),
		of(c, p.CoreV1().PersistentVolumeClaims(namespace), j.CoreV1().PersistentVolumeClaims(namespace), &corev1.PersistentVolumeClaim{
			ObjectMeta: meta("claim"),
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: pointer("fast"),
				Resources: corev1.VolumeResourceRequirements{Requests: storage("1536Mi")},
			},
		}),
		of(c, p.CoreV1().Nodes(), j.CoreV1().Nodes(), &corev1.Node{
			ObjectMeta: meta("machine"),
			Spec:       corev1.NodeSpec{PodCIDR: "10.1.0.0/24", PodCIDRs: []string{"10.1.0.0/24"}, ProviderID: "cloud://one", Unschedulable: true},
			Status: corev1.NodeStatus{
				Capacity:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("16Gi")},
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: moment(), LastTransitionTime: moment(), Reason: "KubeletReady"}},
				Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}},
			},
		}),
		of(c, p.CoreV1().Events(namespace), j.CoreV1().Events(namespace), &corev1.Event{
			ObjectMeta:     meta("web.1"),
			InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: "web", UID: "uid"},
			Reason:         "Started", Message: "started", Type: corev1.EventTypeNormal, Count: 3, FirstTimestamp: moment(), LastTimestamp: moment(),
			Source: corev1.EventSource{Component: "kubelet", Host: "machine"},
		}),
		of(c, p.CoreV1().LimitRanges(namespace), j.CoreV1().LimitRanges(namespace), &corev1.LimitRange{
			ObjectMeta: meta("limits"),
			Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
				Type: corev1.LimitTypeContainer, Max: cpu("2"), Min: cpu("100m"), Default: cpu("1"), DefaultRequest: cpu("500m"),
			}}},
		}),
		of(c, p.CoreV1().ResourceQuotas(namespace), j.CoreV1().ResourceQuotas(namespace), &corev1.ResourceQuota{
			ObjectMeta: meta("quota"), Spec: corev1.ResourceQuotaSpec{Hard: cpu("20"), Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeNotTerminating}},
		}),
		of(c, p.AppsV1().Deployments(namespace), j.AppsV1().Deployments(namespace), &appsv1.Deployment{
			ObjectMeta: meta("web"),
			Spec: appsv1.DeploymentSpec{Replicas: pointer(int32(3)), Selector: selector(), Template: template(corev1.RestartPolicyAlways), MinReadySeconds: 5,
				Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxSurge: pointer(intstr.FromString("50%")), MaxUnavailable: pointer(intstr.FromInt32(0)),
				}}},
		}),
		of(c, p.AppsV1().ReplicaSets(namespace), j.AppsV1().ReplicaSets(namespace), &appsv1.ReplicaSet{
			ObjectMeta: meta("web"), Spec: appsv1.ReplicaSetSpec{Replicas: pointer(int32(0)), Selector: selector(), Template: template(corev1.RestartPolicyAlways)},
		}),
		of(c, p.AppsV1().StatefulSets(namespace), j.AppsV1().StatefulSets(namespace), &appsv1.StatefulSet{
			ObjectMeta: meta("database"),
			Spec: appsv1.StatefulSetSpec{ServiceName: "shop", Selector: selector(), Template: template(corev1.RestartPolicyAlways), PodManagementPolicy: appsv1.ParallelPodManagement,
				VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: storage("1Gi")},
				}}}},
		}),
		of(c, p.AppsV1().DaemonSets(namespace), j.AppsV1().DaemonSets(namespace), &appsv1.DaemonSet{
			ObjectMeta: meta("agent"), Spec: appsv1.DaemonSetSpec{Selector: selector(), Template: template(corev1.RestartPolicyAlways)},
		}),
		of(c, p.AppsV1().ControllerRevisions(namespace), j.AppsV1().ControllerRevisions(namespace), &appsv1.ControllerRevision{
			ObjectMeta: meta("revision"), Revision: 7, Data: runtime.RawExtension{Raw: []byte(`{"spec":{"a":[1,"b",null]}}`)},
		}),
		of(c, p.BatchV1().Jobs(namespace), j.BatchV1().Jobs(namespace), &batchv1.Job{
			ObjectMeta: meta("once"),
			Spec:       batchv1.JobSpec{Parallelism: pointer(int32(2)), Completions: pointer(int32(4)), BackoffLimit: pointer(int32(1)), CompletionMode: pointer(batchv1.IndexedCompletion), Template: jobTemplate()},
		}),
		of(c, p.BatchV1().CronJobs(namespace), j.BatchV1().CronJobs(namespace), &batchv1.CronJob{
			ObjectMeta: meta("nightly"),
			Spec: batchv1.CronJobSpec{Schedule: "5 4 * * *", TimeZone: pointer("Etc/UTC"), ConcurrencyPolicy: batchv1.ForbidConcurrent,
				JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: jobTemplate()}}},
		}),
		of(c, p.AutoscalingV2().HorizontalPodAutoscalers(namespace), j.AutoscalingV2().HorizontalPodAutoscalers(namespace), &autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: meta("web"),
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, MinReplicas: pointer(int32(2)), MaxReplicas: 9,
				Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
					Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: pointer(int32(70))},
				}}},
			},
		}),
		of(c, p.NetworkingV1().Ingresses(namespace), j.NetworkingV1().Ingresses(namespace), &networkingv1.Ingress{
			ObjectMeta: meta("shop"),
			Spec: networkingv1.IngressSpec{IngressClassName: pointer("web"), TLS: []networkingv1.IngressTLS{{Hosts: []string{"shop.example.com"}, SecretName: "password"}},
				Rules: []networkingv1.IngressRule{{Host: "shop.example.com", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
					Path: "/", PathType: pointer(networkingv1.PathTypePrefix),
					Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "shop", Port: networkingv1.ServiceBackendPort{Number: 80}}},
				}}}}}}},
		}),
		of(c, p.NetworkingV1().NetworkPolicies(namespace), j.NetworkingV1().NetworkPolicies(namespace), &networkingv1.NetworkPolicy{
			ObjectMeta: meta("closed"),
			Spec: networkingv1.NetworkPolicySpec{PodSelector: *selector(), PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
				Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.1.0.0/16"}}}}}}},
		}),
		of(c, p.NetworkingV1().IngressClasses(), j.NetworkingV1().IngressClasses(), &networkingv1.IngressClass{
			ObjectMeta: meta("web"), Spec: networkingv1.IngressClassSpec{Controller: "example.com/controller"},
		}),
		of(c, p.DiscoveryV1().EndpointSlices(namespace), j.DiscoveryV1().EndpointSlices(namespace), &discoveryv1.EndpointSlice{
			ObjectMeta: meta("shop-1"), AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: pointer("http"), Port: pointer(int32(80)), Protocol: pointer(corev1.ProtocolTCP)}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.7"}, Conditions: discoveryv1.EndpointConditions{Ready: pointer(true)}, NodeName: pointer("machine")}},
		}),
		of(c, p.PolicyV1().PodDisruptionBudgets(namespace), j.PolicyV1().PodDisruptionBudgets(namespace), &policyv1.PodDisruptionBudget{
			ObjectMeta: meta("web"), Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: pointer(intstr.FromString("50%")), Selector: selector()},
		}),
		of(c, p.RbacV1().Roles(namespace), j.RbacV1().Roles(namespace), &rbacv1.Role{ObjectMeta: meta("reader"), Rules: rules()}),
		of(c, p.RbacV1().RoleBindings(namespace), j.RbacV1().RoleBindings(namespace), &rbacv1.RoleBinding{
			ObjectMeta: meta("readers"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"}, Subjects: subjects(),
		}),
		of(c, p.RbacV1().ClusterRoles(), j.RbacV1().ClusterRoles(), &rbacv1.ClusterRole{ObjectMeta: meta("reader"), Rules: rules()}),
		of(c, p.RbacV1().ClusterRoleBindings(), j.RbacV1().ClusterRoleBindings(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta("readers"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "reader"}, Subjects: subjects(),
		}),
		of(c, p.StorageV1().StorageClasses(), j.StorageV1().StorageClasses(), &storagev1.StorageClass{
			ObjectMeta: meta("fast"), Provisioner: "disks.example.com", Parameters: map[string]string{"type": "ssd"}, AllowVolumeExpansion: pointer(true),
			ReclaimPolicy: pointer(corev1.PersistentVolumeReclaimRetain), VolumeBindingMode: pointer(storagev1.VolumeBindingWaitForFirstConsumer),
		}),
		of(c, p.StorageV1().CSIDrivers(), j.StorageV1().CSIDrivers(), &storagev1.CSIDriver{
			ObjectMeta: meta("disks.example.com"), Spec: storagev1.CSIDriverSpec{AttachRequired: pointer(false), FSGroupPolicy: pointer(storagev1.FileFSGroupPolicy)},
		}),
		of(c, p.CoordinationV1().Leases(namespace), j.CoordinationV1().Leases(namespace), &coordinationv1.Lease{
			ObjectMeta: meta("leader"),
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: pointer("one"), LeaseDurationSeconds: pointer(int32(15)), RenewTime: pointer(metav1.NewMicroTime(moment().Add(123456 * time.Microsecond)))},
		}),
		of(c, p.SchedulingV1().PriorityClasses(), j.SchedulingV1().PriorityClasses(), &schedulingv1.PriorityClass{
			ObjectMeta: meta("important"), Value: 1000, Description: "first", PreemptionPolicy: pointer(corev1.PreemptNever),
		}),
		of(c, p.NodeV1().RuntimeClasses(), j.NodeV1().RuntimeClasses(), &nodev1.RuntimeClass{
			ObjectMeta: meta("sandbox"), Handler: "sandbox", Overhead: &nodev1.Overhead{PodFixed: cpu("250m")},
		}),
		of(c, p.AdmissionregistrationV1().ValidatingWebhookConfigurations(), j.AdmissionregistrationV1().ValidatingWebhookConfigurations(), &admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: meta("checks"),
			Webhooks: []admissionregistrationv1.ValidatingWebhook{{
				Name: "check.example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: pointer(admissionregistrationv1.SideEffectClassNone), FailurePolicy: pointer(admissionregistrationv1.Ignore),
				ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: pointer("https://127.0.0.1:9/check")},
				Rules: []admissionregistrationv1.RuleWithOperations{{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{"example.com"}, APIVersions: []string{"v1"}, Resources: []string{"things"}},
				}},
			}},
		}),
	}
}

func pointer[T any](value T) *T { return &value }

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Annotations: map[string]string{"note": "näher"}}
}

func moment() metav1.Time { return metav1.NewTime(time.Date(2026, 11, 24, 8, 30, 0, 0, time.UTC)) }

func labels() map[string]string { return map[string]string{"app": "web"} }

func selector() *metav1.LabelSelector { return &metav1.LabelSelector{MatchLabels: labels()} }

func storage(amount string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(amount)}
}

func cpu(amount string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(amount)}
}

func rules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}, Verbs: []string{"get", "list"}, ResourceNames: []string{"web"}}}
}

func subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "robot"}, {Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "somebody"}}
}

func template(restart corev1.RestartPolicy) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels()}, Spec: podSpec(restart)}
}

func jobTemplate() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: podSpec(corev1.RestartPolicyNever)}
}

// podSpec has one of many things.
func podSpec(restart corev1.RestartPolicy) corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy: restart, TerminationGracePeriodSeconds: pointer(int64(10)), NodeSelector: map[string]string{"disk": "ssd"},
		InitContainers: []corev1.Container{{Name: "wait", Image: "busybox:1", Command: []string{"sh", "-c", "true"}}},
		Containers: []corev1.Container{{
			Name: "web", Image: "nginx:1.29", Args: []string{"-g", "daemon off;"}, ImagePullPolicy: corev1.PullIfNotPresent,
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
			Env: []corev1.EnvVar{
				{Name: "A", Value: "b"},
				{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}},
				{Name: "KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "password"}, Key: "key", Optional: pointer(true)}}},
			},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
			},
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 3, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http"), Scheme: corev1.URISchemeHTTP}}},
			VolumeMounts: []corev1.VolumeMount{
				{Name: "settings", MountPath: "/etc/settings", ReadOnly: true}, {Name: "cache", MountPath: "/cache"},
			},
			SecurityContext: &corev1.SecurityContext{RunAsNonRoot: pointer(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
		}},
		Volumes: []corev1.Volume{
			{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, DefaultMode: pointer(int32(0o440))}}},
			{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: pointer(resource.MustParse("1Gi"))}}},
		},
		Tolerations: []corev1.Toleration{{Key: "a", Operator: corev1.TolerationOpEqual, Value: "b", Effect: corev1.TaintEffectNoExecute, TolerationSeconds: pointer(int64(60))}},
		Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
			Weight: 50, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: "kubernetes.io/hostname", LabelSelector: selector()},
		}}}},
	}
}
