// Package volumes provisions the cluster's StorageClass: a folder on the node for each claim,
// removed with it. Claims are bound the way a CSI driver's are, so a StatefulSet sees no
// difference; `local` volumes (not hostPath ones) are used because kubelet applies a pod's
// fsGroup to them.
package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// Provisioner is what the StorageClass names.
const Provisioner = "pitwall.dev/folder"

const provisionedBy = "pv.kubernetes.io/provisioned-by"

type provisioner struct {
	client *kubernetes.Clientset
	class  string
	node   string
	folder string
}

// Main reads `volumes KUBECONFIG CLASS NODE FOLDER`.
func Main() error {
	if len(os.Args) != 5 {
		return errors.New("usage: volumes KUBECONFIG CLASS NODE FOLDER")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return provisioner{client, os.Args[2], os.Args[3], os.Args[4]}.run(context.Background())
}

func (p provisioner) run(ctx context.Context) error {
	// Both lists are short here, so every event looks at all of both: no queue, no keys.
	changed := make(chan struct{}, 1)
	notice := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	factory := informers.NewSharedInformerFactory(p.client, time.Minute)
	claims := factory.Core().V1().PersistentVolumeClaims()
	volumes := factory.Core().V1().PersistentVolumes()
	for _, informer := range []cache.SharedIndexInformer{claims.Informer(), volumes.Informer()} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { notice() },
			UpdateFunc: func(any, any) { notice() },
			DeleteFunc: func(any) { notice() },
		}); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for range changed {
		for _, object := range claims.Informer().GetStore().List() {
			claim := object.(*core.PersistentVolumeClaim)
			report("claim "+claim.Namespace+"/"+claim.Name, p.provision(ctx, claim))
		}
		for _, object := range volumes.Informer().GetStore().List() {
			volume := object.(*core.PersistentVolume)
			report("volume "+volume.Name, p.remove(ctx, volume))
		}
	}
	return nil
}

func report(about string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", about, err)
	}
}

// provision makes the volume that a pending claim of the class asks for.
func (p provisioner) provision(ctx context.Context, claim *core.PersistentVolumeClaim) error {
	if claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName != p.class ||
		claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
		return nil
	}
	name := "pvc-" + string(claim.UID)
	folder := filepath.Join(p.folder, name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	// For pods that state no fsGroup; MkdirAll's mode is cut by the umask.
	if err := os.Chmod(folder, 0o777); err != nil {
		return err
	}
	mode := core.PersistentVolumeFilesystem
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: Provisioner}},
		Spec: core.PersistentVolumeSpec{
			StorageClassName:              p.class,
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      claim.Spec.Resources.Requests,
			VolumeMode:                    &mode,
			PersistentVolumeReclaimPolicy: core.PersistentVolumeReclaimDelete,
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: folder}},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{
				NodeSelectorTerms: []core.NodeSelectorTerm{{MatchExpressions: []core.NodeSelectorRequirement{{
					Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{p.node},
				}}}},
			}},
		},
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, meta.CreateOptions{})
	if err == nil {
		fmt.Printf("made %s for %s/%s\n", name, claim.Namespace, claim.Name)
	}
	if apierrors.IsAlreadyExists(err) {
		return nil // the claim's update is on its way
	}
	return err
}

// remove deletes a volume of ours whose claim is gone, and what was in it.
func (p provisioner) remove(ctx context.Context, volume *core.PersistentVolume) error {
	if volume.Annotations[provisionedBy] != Provisioner || volume.Spec.Local == nil ||
		volume.Status.Phase != core.VolumeReleased || volume.DeletionTimestamp != nil ||
		volume.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(p.folder, volume.Name)); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, meta.DeleteOptions{})
	if err == nil {
		fmt.Printf("removed %s\n", volume.Name)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
