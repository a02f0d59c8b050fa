// Package cluster is what the admission webhook has to do with the cluster it
// serves: its certificate, what namespaces say of themselves, the platforms of
// nodes, the pull secrets of pods, the digests of tags, and the inventory of what
// runs.
//
// It must not know how a review is decided: the webhook uses it through
// interfaces of its own. Nothing here is asked for a verdict; the inventory asks
// the gate, as the webhook does. Start with certificates.go and trust.go;
// inventory.go is the other half; probe.go is for pratique doctor, with the rights of
// whoever runs that. Every part that has a Run needs it running, and stops, with all
// that it started, when its context ends.
//
// # What each part may do in the cluster
//
// A row is one rule of a Role in Pratique's own namespace (own), or of a
// ClusterRole (cluster). A name stands for resourceNames; * is any. Rows of parts
// that are switched off are not needed. A test holds the table against every
// request that the parts make.
//
//	part          where    group                         resource                         name      verbs
//	certificates  own      core                          secrets                          *         create
//	certificates  own      core                          secrets                          secret    get list watch update
//	certificates  cluster  admissionregistration.k8s.io  validatingwebhookconfigurations  webhooks  get list watch patch
//	certificates  cluster  admissionregistration.k8s.io  mutatingwebhookconfigurations    webhooks  get list watch patch
//	namespaces    cluster  core                          namespaces                       *         get list watch
//	nodes         cluster  core                          nodes                            *         list watch
//	pullsecrets   cluster  core                          serviceaccounts                  *         get
//	pullsecrets   cluster  core                          secrets                          *         get
//	inventory     cluster  core                          pods                             *         get list watch
//	inventory     cluster  apps                          replicasets                      *         get
//	inventory     cluster  batch                         jobs                             *         get
//	leader        own      coordination.k8s.io           leases                           *         create
//	leader        own      coordination.k8s.io           leases                           lease     get update
//	events        cluster  core                          events                           *         create patch
//	reports       cluster  wgpolicyk8s.io                policyreports                    *         list create patch delete
//	reports       cluster  openreports.io                reports                          *         list create patch delete
//	exceptions    cluster  pratique.io                   imageexceptions                  *         list watch
//	exceptions    cluster  pratique.io                   imageexceptions/status           *         patch
//	eviction      cluster  core                          pods/eviction                    *         create
//
// secret is CertificateConfig.Secret, webhooks are its Validating and Mutating,
// lease is LeaderConfig.Lease. API servers do not hold create against a name.
// Reading pull secrets in all namespaces is the widest right of these: a chart
// can give it by Roles in chosen namespaces instead, and PullSecrets then fails
// for the others. Resolver and FileCertificates need nothing.
package cluster
